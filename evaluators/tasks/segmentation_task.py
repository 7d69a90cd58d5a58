"""Semantic segmentation: a class for each pixel of a picture.

Beside what a task of images has, its folder holds ``masks.npy``, uint8 (N, S, S): the classes of train, then val,
then test pictures at the largest size S, ``VOID`` where nothing is known. Pictures are scaled whole, whatever
their shape, and so are their masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from evaluators.tasks.map_task import MapTask
from evaluators.tasks.task import Split
from results.bundle import masks
from spaces.scales import grid
from understudy import DataError

IGNORED = -100
"""The target of a pixel of which nothing is known, as ``cross_entropy`` takes it."""
_BATCH = 64


@dataclass(frozen=True)
class SegmentationTask(MapTask):
    """Pictures with masks; see ``MapTask``."""

    kind: ClassVar[str] = "masks"
    space: ClassVar[str] = "segment"
    metric: ClassVar[str] = "mIoU"

    def targets(self, split: Split) -> NDArray[np.uint8]:  # type: ignore[override]
        """Masks of a split, uint8 (N, S, S), memory-mapped; ``VOID`` where nothing is known."""
        return self._masks[self._slice(split)]

    def taught(self, ids: NDArray[np.int64], view: int) -> Tensor:
        """Classes of training pictures on the grid, as a view shows them, int64 (B, G, G); ``IGNORED`` where void.

        Each is that of most pixels at a place: a single one cannot lie in the middle of an even number.
        """
        shown = torch.from_numpy(self.targets("train")[ids][:, None].astype(np.float32))
        shown = self.augment.apply(shown, ids, view, self.seed, mode="nearest")
        side = grid(self.image_size)
        step = self.image_size // side
        cells = shown.reshape(len(ids), side, step, side, step).transpose(2, 3).flatten(3)
        classes = cells.mode(-1).values.long()
        return classes.masked_fill(classes == masks.VOID, IGNORED)

    def score(self, logits: Tensor | NDArray[np.float32], targets: Tensor | NDArray[Any]) -> float:
        """Mean intersection over union (mIoU) at the masks' own size, of the classes that masks or answers show.

        ``logits`` are (N, classes, G, G), ``targets`` (N, S, S); answers are scaled before they are compared.
        """
        answers, wanted = torch.as_tensor(logits), np.asarray(targets)
        counts = torch.zeros(self.classes, self.classes, dtype=torch.int64)
        for begin in range(0, len(answers), _BATCH):
            part = torch.from_numpy(np.array(wanted[begin : begin + _BATCH]))
            counts += self._confusion(answers[begin : begin + _BATCH], part)
        both = counts.diag()
        either = counts.sum(0) + counts.sum(1) - both
        shown = either > 0
        return float((both[shown].double() / either[shown]).mean())

    def _confusion(self, logits: Tensor, targets: Tensor) -> Tensor:
        """How many pixels of each class (rows) get each answer (columns)."""
        size = tuple(targets.shape[1:])
        answers = functional.interpolate(logits.float(), size, mode="bilinear").argmax(1)
        known = targets != masks.VOID
        pairs = targets[known].long() * self.classes + answers[known]
        return torch.bincount(pairs, minlength=self.classes**2).view(self.classes, self.classes)

    @cached_property
    def _masks(self) -> NDArray[np.uint8]:
        try:
            held: NDArray[np.uint8] = np.load(self.folder / "masks.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.folder} holds no masks ({error}): let `understudy resume` prepare the data again"
            ) from error
        return held
