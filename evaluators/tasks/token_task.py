"""What tasks on token ids have in common, whether texts are classified or gone on with.

Beside what every task has, the folder of one holds ``ids.npy``, int32 (N, T), of train, then val, then test
samples.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from evaluators.distill.schedule import Optimiser
from evaluators.tasks.augment import POLICIES, Augment
from evaluators.tasks.task import Split, Task, read_facts
from results.store import write_atomically

_NOT_WRITTEN = ("folder", "mean", "std", "augment")


@dataclass(frozen=True, kw_only=True)
class TokenTask(Task):
    """See ``Task``. ``channels`` is the size of the vocabulary, ``image_size`` the most tokens of a sample.

    All views are the same.
    """

    tokens: ClassVar[bool] = True
    optimiser: ClassVar[Optimiser] = "adamw"

    folder: Path
    labels: tuple[str, ...]
    channels: int
    image_size: int
    counts: Mapping[str, int]
    seed: int
    fingerprint: str
    notes: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    augment: Augment = POLICIES["none"]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The task prepared in a folder; raises ``DataError`` when there is none."""
        facts = read_facts(folder)
        given: dict[str, Any] = {
            name: tuple(facts[name]) if isinstance(facts[name], list) else facts[name] for name in cls._facts()
        }
        return cls(**given, folder=folder)

    def save(self) -> None:
        """Write ``task.json``; the folder is complete from then on."""
        facts = {"kind": self.kind} | {name: getattr(self, name) for name in self._facts()}
        write_atomically(self.folder / "task.json", json.dumps(facts, indent=1).encode())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).open, (self.folder,)

    @classmethod
    def _facts(cls) -> list[str]:
        """The names of what ``task.json`` holds."""
        return [item.name for item in fields(cls) if item.name not in _NOT_WRITTEN]

    @abstractmethod
    def images(self, split: Split, ids: ArrayLike, resolution: int, view: int = 0) -> Tensor:
        """Token ids of samples by number within a split, int64 (B, ``resolution``)."""

    def batch(self, split: Split, ids: ArrayLike, resolution: int, view: int = 0) -> Tensor:
        """As ``images``: a student takes what its teacher does."""
        return self.images(split, ids, resolution, view)

    @property
    def sizes(self) -> dict[str, Any]:
        """As of any task, and that samples are tokens."""
        return {**super().sizes, "tokens": True}

    @cached_property
    def _ids(self) -> NDArray[np.int32]:
        ids: NDArray[np.int32] = np.load(self.folder / "ids.npy", mmap_mode="r", allow_pickle=False)
        return ids
