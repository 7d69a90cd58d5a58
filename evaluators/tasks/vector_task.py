"""Classification of feature vectors.

Beside what every task has, its folder holds ``features.npy``, float32 (rows, features), and ``order.npy``, the
rows of its train, then val, then test samples.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from evaluators.tasks.augment import POLICIES, Augment
from evaluators.tasks.task import Split, Task, read_facts
from results.store import write_atomically
from spaces.space import VECTOR

_FACTS = ("kind", "labels", "channels", "mean", "std", "counts", "seed", "fingerprint", "notes")


@dataclass(frozen=True)
class VectorTask(Task):
    """Feature vectors in classes; see ``Task``. ``mean`` and ``std`` are of the training split."""

    kind: ClassVar[str] = "vectors"
    space: ClassVar[str] = "mlp"
    own: ClassVar[tuple[str, ...]] = ()
    """Plain facts that tasks of the kind have beside those of all."""

    folder: Path
    labels: tuple[str, ...]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    counts: Mapping[str, int]
    seed: int
    fingerprint: str
    notes: tuple[str, ...] = ()
    image_size: int = VECTOR
    augment: Augment = POLICIES["none"]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The task prepared in a folder; raises ``DataError`` when there is none."""
        facts = read_facts(folder)
        given: dict[str, Any] = {
            name: facts[name] for name in ("channels", "counts", "seed", "fingerprint", *cls.own)
        }
        given |= {name: tuple(facts[name]) for name in ("labels", "mean", "std", "notes")}
        return cls(folder=folder, **given)

    def save(self) -> None:
        """Write ``task.json``; the folder is complete from then on."""
        facts = {name: getattr(self, name) for name in (*_FACTS, *self.own)}
        write_atomically(self.folder / "task.json", json.dumps(facts, indent=1).encode())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).open, (self.folder,)

    @property
    def features(self) -> NDArray[np.float32]:
        """All vectors as the user gave them, (rows, features), memory-mapped."""
        return self._features

    @property
    def sample(self) -> dict[str, int | float]:
        """What one sample is, for people: figures by name."""
        return {"features": self.channels}

    def rows(self, split: Split, ids: ArrayLike) -> NDArray[np.int64]:
        """The rows of ``features`` of samples by their number within a split."""
        return self._order[self._slice(split)][np.asarray(ids, np.int64)]

    def images(self, split: Split, ids: ArrayLike, resolution: int, view: int = 0) -> Tensor:
        """Vectors as the user gave them, float32 (B, features); every view is the same."""
        return torch.from_numpy(self._features[self.rows(split, ids)])

    def batch(self, split: Split, ids: ArrayLike, resolution: int, view: int = 0) -> Tensor:
        """Vectors less ``mean``, over ``std``: what a student takes, float32 (B, features)."""
        return self.normalise(torch.from_numpy(self._features[self.rows(split, ids)]))

    def normalise(self, vectors: Tensor) -> Tensor:
        """(N, features) as the user gave them to the student's input; the arithmetic of the bundle's runner."""
        return (vectors - torch.tensor(self.mean)) / torch.tensor(self.std)

    def preprocess(self, resolution: int) -> dict[str, Any]:
        """What a device must do to a vector, for the manifest of a bundle (see ``results.bundle.runner``)."""
        return {"features": self.channels, "mean": _short(self.mean), "std": _short(self.std)}

    @cached_property
    def _features(self) -> NDArray[np.float32]:
        features: NDArray[np.float32] = np.load(self.folder / "features.npy", mmap_mode="r", allow_pickle=False)
        return features


def _short(figures: Sequence[float]) -> list[float]:
    """The figures, or one where all are the same."""
    return list(figures[:1]) if len(set(figures)) == 1 else list(figures)
