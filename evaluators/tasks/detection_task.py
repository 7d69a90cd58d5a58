"""Object detection: boxes around what is in a picture.

Beside what a task of images has, its folder holds ``boxes.npy``, float32 (M, 5): class, left, top, right, bottom
in shares of the sides, of train, then val, then test pictures, and ``box_counts.npy``, int64 (N,), how many each
has.
Pictures are scaled whole, whatever their shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluators.distill.evaluate import agreement
from evaluators.tasks.average_precision import average_precision
from evaluators.tasks.box_targets import Assigned, assign, box_loss, moved
from evaluators.tasks.map_task import MapTask
from evaluators.tasks.task import Split
from results.bundle import boxes
from spaces.scales import answer_shape, level_sides

Boxes = NDArray[np.float32]
LEAST = 0.05
"""Boxes of a smaller score are not judged."""


@dataclass(frozen=True)
class DetectionTask(MapTask):
    """Pictures with boxes; see ``MapTask``. Answers are as ``results.bundle.boxes`` reads them."""

    kind: ClassVar[str] = "boxes"
    space: ClassVar[str] = "detect"
    metric: ClassVar[str] = "mAP"
    _latest: dict[tuple[int, bytes], Assigned] = field(default_factory=dict, repr=False, compare=False)

    @property
    def class_channels(self) -> int:
        """Nothing, and each class."""
        return 1 + self.classes

    @property
    def map_channels(self) -> int:
        """The classes, and what a place says of its box."""
        return self.class_channels + boxes.BESIDE

    @property
    def map_sides(self) -> tuple[int, ...]:
        """See ``Task.map_sides``: those of ``spaces.scales.level_sides``."""
        return level_sides(self.image_size)

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """Of the answer to a picture: (channels, P, 1)."""
        return answer_shape(self.map_channels, self.image_size, True, boxes=True)

    @property
    def sizes(self) -> dict[str, Any]:
        """See ``Task.sizes``."""
        return {**super().sizes, "boxes": True}

    def targets(self, split: Split) -> Sequence[Boxes]:  # type: ignore[override]
        """The boxes of each picture of a split, float32 (n, 5): class, left, top, right, bottom in shares."""
        return self._boxes[self._slice(split)]

    def taught(self, ids: NDArray[np.int64], view: int) -> Tensor:
        """What is at each place of training pictures as a view shows them, int64 (B, P): 0 is nothing."""
        return self._assigned(ids, view).classes

    def beside(self, student: Tensor, teacher: Tensor | None, ids: NDArray[np.int64], view: int) -> Tensor:
        """The loss of the boxes of answers (B, channels, P, 1) against those given, and against the teacher's."""
        theirs = None if teacher is None else teacher.squeeze(3)
        return box_loss(student.squeeze(3), theirs, self._assigned(ids, view).to(student.device), self.map_sides)

    def score(self, logits: Tensor | NDArray[np.float32], targets: Any) -> float:
        """Mean average precision as COCO's, over overlaps of .5 to .95, in 0..1; ``targets`` as of ``targets``."""
        answers = np.asarray(logits, np.float32)
        return average_precision(
            [boxes.boxes_of(each, self.map_sides, LEAST) for each in answers], targets, self.classes
        )

    def agreement(self, logits: Tensor, others: Tensor | NDArray[np.float32]) -> float:
        """Share of places at which two networks see the same class, or nothing."""
        channels = self.class_channels
        return agreement(logits[:, :channels], torch.as_tensor(others)[:, :channels])

    def preprocess(self, resolution: int) -> dict[str, Any]:
        """See ``MapTask.preprocess``; ``grid`` are the sides of all maps, ``boxes`` channels beside classes."""
        return {**super().preprocess(resolution), "grid": list(self.map_sides), "boxes": boxes.BESIDE}

    def _assigned(self, ids: NDArray[np.int64], view: int) -> Assigned:
        key = (view, ids.tobytes())
        if key not in self._latest:
            given = [self.targets("train")[index] for index in ids]
            if view and not self.augment.clean:
                given = moved(given, self.augment.matrices(ids, view, self.seed).numpy())
            self._latest.clear()
            self._latest[key] = assign(given, self.map_sides)
        return self._latest[key]

    @cached_property
    def _boxes(self) -> list[Boxes]:
        held: Boxes = np.load(self.folder / "boxes.npy", allow_pickle=False)
        counts: NDArray[np.int64] = np.load(self.folder / "box_counts.npy", allow_pickle=False)
        return np.split(held, np.cumsum(counts)[:-1])
