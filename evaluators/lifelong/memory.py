"""The few earlier pictures that a student is shown again while it learns later ones."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from results.store import write_atomically
from understudy import DataError

How = Literal["herding", "random"]


@dataclass(frozen=True)
class Memory:
    """Pictures kept for replay: uint8 (N, C, R, R) at the student's size, with their classes, int64 (N,).

    What the former student says of them is not stored, but computed when it is needed: then there is an answer
    to every augmented view, not only to one.
    """

    pictures: NDArray[np.uint8]
    targets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets)

    def save(self, path: Path) -> None:
        """Write as ``.npz``; raises ``RunError`` when that is impossible."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, pictures=self.pictures, targets=self.targets)
        write_atomically(path, buffer.getvalue())

    @staticmethod
    def load(path: Path) -> Memory:
        """The memory in a file; raises ``DataError`` when it holds none."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                pictures, targets = arrays["pictures"], arrays["targets"]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} holds no replay memory ({error}): restore it, or remove it") from error
        if pictures.ndim != 4 or pictures.dtype != np.uint8 or targets.shape != pictures.shape[:1]:
            raise DataError(
                f"{path} holds {pictures.dtype} {pictures.shape}, not pictures: restore it, or remove it"
            )
        return Memory(pictures, targets.astype(np.int64))


def exemplars(
    features: NDArray[np.float32], targets: NDArray[np.int64], count: int, how: How, seed: int
) -> NDArray[np.int64]:
    """The numbers of at most ``count`` samples that stand for all, as many of each class as there can be.

    ``features`` (N, D) are the student's. ``herding`` takes one after the other such that the mean of those
    taken is nearest to the mean of their class (iCaRL; Rebuffi et al., CVPR 2017), ``random`` draws them.
    """
    generator = np.random.default_rng(seed)
    chosen = []
    for label, share in _shares(targets, count).items():
        members = np.flatnonzero(targets == label)
        order = _herded(features[members], share) if how == "herding" else generator.permutation(len(members))
        chosen.append(members[order[:share]])
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)


def _shares(targets: NDArray[np.int64], count: int) -> dict[int, int]:
    """How many of each class: even, and what a small class leaves over goes to the larger ones."""
    labels, sizes = np.unique(targets, return_counts=True)
    left, shares = count, {}
    for place, index in enumerate(np.argsort(sizes, kind="stable")):
        shares[int(labels[index])] = min(int(sizes[index]), left // (len(labels) - place))
        left -= shares[int(labels[index])]
    return shares


def _herded(features: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    mean, total = unit.mean(axis=0), np.zeros(unit.shape[1])
    free, order = np.ones(len(unit), bool), []
    for taken in range(1, count + 1):
        distances = np.linalg.norm(mean - (total + unit) / taken, axis=1)
        best = int(np.where(free, distances, np.inf).argmin())
        order.append(best)
        free[best] = False
        total += unit[best]
    return np.array(order, np.int64)
