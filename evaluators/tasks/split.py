"""Dividing samples into training, validation and test, every class in each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from understudy import DataError

SHARES = (0.70, 0.15, 0.15)
"""Shares of train, val and test when the data come undivided."""


def divide(
    targets: NDArray[np.int64], given: NDArray[np.str_] | None, labels: Sequence[str], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Sample numbers of train, val and test, each class by its share and drawn by the seed.

    ``given`` holds "train", "val" or "test" of every sample, where the data come divided: these are kept,
    and a missing val or test is taken out of train at its usual share. Raises ``DataError`` when there
    are samples without training data, or a class with too few samples to be in every split.
    """
    split = np.full(len(targets), "train") if given is None else given.astype("<U5")
    if not (split == "train").any():
        raise DataError("the data have no training split: name a folder or arrays with one (train)")
    absent = [name for name in ("val", "test") if not (split == name).any()]
    generator = np.random.default_rng(seed)
    for label, name in enumerate(labels):
        members = generator.permutation(np.flatnonzero((targets == label) & (split == "train")))
        if len(members) < 1 + len(absent):
            raise DataError(
                f"class {name!r} has {len(members)} training sample(s), too few to split: it needs at least "
                f"{1 + len(absent)}; add some, or remove the class"
            )
        for number, part in enumerate(absent):
            count = max(1, round(SHARES[1] * len(members)))
            split[members[number * count : (number + 1) * count]] = part
    train, val, test = (np.flatnonzero(split == name).astype(np.int64) for name in ("train", "val", "test"))
    return train, val, test


def shared_samples(digests: Sequence[bytes], parts: Sequence[NDArray[np.int64]]) -> int:
    """How many samples of later parts are also in an earlier one, by content hash."""
    seen: set[bytes] = set()
    shared = 0
    for part in parts:
        hashes = [digests[index] for index in part]
        shared += sum(digest in seen for digest in hashes)
        seen.update(hashes)
    return shared
