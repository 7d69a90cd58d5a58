"""What every task offers to teaching, scoring and compiling, whatever its data are."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from evaluators.distill.evaluate import accuracy, agreement
from evaluators.distill.schedule import Optimiser, Schedule, final_schedule, search_schedule
from evaluators.tasks.augment import Augment
from spaces.batch import Batch
from understudy import DataError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
UNLABELLED = -1
"""The target of a training sample without a label: what the teacher says of it can still be learnt."""


class Task(ABC):
    """Classification of the samples of one prepared data set, which any process can open from its folder.

    ``labels``: class names; ``channels``: of an image, features of a vector, or pieces of a vocabulary;
    ``image_size``: the largest square side in use, pixels, or ``VECTOR``, or the most tokens of a text;
    ``tokens``: whether samples are ids of tokens; ``several``: whether each has several parts, which a network
    takes as so many inputs; ``dense``: whether an answer is a map of places, each with its
    class; ``optimiser``: what suits its networks; ``metric``: what ``score`` gives, kept as accuracy; ``mean``,
    ``std``: by channel over the training split; ``counts``: samples a split; ``space`` and ``distill``: the space
    of students, and how they are taught, where the user names none; ``fingerprint``: a hash of content, split and
    seed; ``notes``: what the user should know of the data; ``folder``: where it is prepared.

    A folder holds ``task.json`` and ``targets.npy``, int64 (N,), of train, then val, then test samples.
    """

    kind: ClassVar[str]
    space: ClassVar[str]
    distill: ClassVar[str] = "soft-targets"
    tokens: ClassVar[bool] = False
    several: ClassVar[bool] = False
    optimiser: ClassVar[Optimiser] = "sgd"
    dense: ClassVar[bool] = False
    metric: ClassVar[str] = "accuracy"
    folder: Path
    labels: tuple[str, ...]
    channels: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    counts: Mapping[str, int]
    augment: Augment
    seed: int
    fingerprint: str
    notes: tuple[str, ...]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.labels)

    @property
    def sizes(self) -> dict[str, Any]:
        """What a space must know of the data: the arguments of ``spaces.catalogue.load_space``."""
        return {"channels": self.channels, "image_size": self.image_size, "classes": self.classes}

    @property
    def sample(self) -> dict[str, int | float]:
        """What one sample is, for people: figures by name."""
        return {"channels": self.channels, "image_size": self.image_size}

    @property
    def varied(self) -> bool:
        """Whether views of a sample differ."""
        return not self.augment.clean

    def size(self, split: Split) -> int:
        """Number of samples of a split."""
        return self.counts[split]

    def targets(self, split: Split) -> NDArray[np.int64]:
        """Classes of a split, int64 (N,); ``UNLABELLED`` where a training sample has none."""
        return self._targets[self._slice(split)]

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """By training sample, whether it has a label."""
        known: NDArray[np.bool_] = self.targets("train") != UNLABELLED
        return known

    def taught(self, ids: NDArray[np.int64], view: int) -> Tensor:
        """Classes of training samples by number, as a view shows them, int64 (B,)."""
        return torch.from_numpy(self.targets("train")[ids])

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """Of a network's answer to one sample: (classes,)."""
        return (self.classes,)

    @property
    def map_sides(self) -> tuple[int, ...]:
        """Places a side of the maps that an answer is made of, one after the other; none where it is no map."""
        return ()

    @property
    def class_channels(self) -> int:
        """How many of an answer's channels, from the first, tell classes apart."""
        return self.classes

    def beside(self, student: Tensor, teacher: Tensor | None, ids: NDArray[np.int64], view: int) -> Tensor | None:
        """The loss of what answers that are maps hold beside classes, where they do.

        ``student`` and ``teacher`` (None: nobody teaches) are (B, *answer_shape).
        """
        return None

    def agreement(self, logits: Tensor, others: Tensor | NDArray[np.float32]) -> float:
        """Share of samples, or of places, on which two networks give the same class."""
        return agreement(logits, torch.as_tensor(others))

    def kept(self, logits: Tensor, split: Split, ids: ArrayLike) -> Tensor:
        """What is kept and scored of answers to samples of a split: all, but where that is too large."""
        return logits

    def kept_shape(self, split: Split) -> tuple[int, ...]:
        """Of what is kept of one answer."""
        return self.answer_shape

    def restored(self, kept: Tensor) -> Tensor:
        """Answers to training samples as methods read them, of what was kept."""
        return kept

    @property
    def answered_at_once(self) -> int:
        """Samples of a batch of which nothing is learnt."""
        return 128

    def search_schedule(self, epochs: int | None) -> Schedule:
        """The short training of a candidate; ``epochs`` overrules its length."""
        return search_schedule(self.size("train"), epochs, self.optimiser, self.dense)

    def final_schedule(self, epochs: int | None) -> Schedule:
        """The full training of a finalist; ``epochs`` overrules its length."""
        return final_schedule(self.size("train"), epochs, self.optimiser, self.dense, self.varied)

    def prepare(self, resolutions: Iterable[int]) -> None:  # noqa: B027 (most tasks have nothing to make)
        """Make what samples of these sizes need, once for all processes."""

    @abstractmethod
    def images(self, split: Split, ids: ArrayLike, resolution: int, view: int = 0) -> Batch:
        """Samples by number within a split as the teacher takes them, batch first; view 0 is the clean one."""

    @abstractmethod
    def batch(self, split: Split, ids: ArrayLike, resolution: int, view: int = 0) -> Batch:
        """The same samples as a student takes them: (B, C, R, R) or (B, features), float32; or int64 (B, R).

        Where samples have ``several`` parts, a tuple of such.
        """

    @abstractmethod
    def preprocess(self, resolution: int) -> dict[str, Any]:
        """What a device must do to a sample, for the manifest of a bundle (see ``results.bundle.runner``)."""

    @property
    def device_files(self) -> Mapping[str, Path]:
        """Files that a device needs for that, by what they are."""
        return {}

    def score(self, logits: Tensor | NDArray[np.float32], targets: Tensor | NDArray[np.int64]) -> float:
        """Share of samples whose largest logit is the target's; logits (N, classes), targets (N,)."""
        return accuracy(torch.as_tensor(logits), torch.as_tensor(targets))

    def _slice(self, split: Split) -> slice:
        start = sum(self.counts[name] for name in SPLITS[: SPLITS.index(split)])
        return slice(start, start + self.counts[split])

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        order: NDArray[np.int64] = np.load(self.folder / "order.npy", allow_pickle=False)
        return order

    @cached_property
    def _targets(self) -> NDArray[np.int64]:
        targets: NDArray[np.int64] = np.load(self.folder / "targets.npy", allow_pickle=False)
        return targets


def read_facts(folder: Path) -> dict[str, Any]:
    """What ``task.json`` of a prepared task says; raises ``DataError`` when there is none."""
    try:
        facts: dict[str, Any] = json.loads((folder / "task.json").read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(
            f"{folder} holds no prepared task ({error}): let `understudy resume` prepare the data again"
        ) from error
    return facts
