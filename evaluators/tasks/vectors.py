"""From feature vectors as a user has them to a prepared ``VectorTask`` on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.tasks.split import divide
from evaluators.tasks.task import SPLITS, UNLABELLED
from evaluators.tasks.vector_task import VectorTask
from evaluators.tasks.whole_folder import whole_folder
from understudy import DataError

Figures = tuple[tuple[float, ...], tuple[float, ...]]
Parts = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


_SPARSE = 0.1


@dataclass(frozen=True)
class Vectors:
    """Feature vectors with classes: ``features`` float32 (N, D), or waveforms, int16; ``targets`` int64 (N,)
    index ``labels`` or are ``UNLABELLED``; ``given`` is the split of each ("train", "val", "test", or "" for none)
    where they come divided; ``source`` is what to call them in a message, ``noun`` what one of them is.
    """

    features: NDArray[np.float32] | NDArray[np.int16]
    targets: NDArray[np.int64]
    labels: tuple[str, ...]
    source: str
    given: NDArray[np.str_] | None = None
    noun: str = "row"

    def __post_init__(self) -> None:
        if self.features.dtype.kind == "i":
            return
        finite = np.isfinite(self.features).all(axis=1)
        if not finite.all():
            raise DataError(
                f"{self.noun} {int(finite.argmin())} of {self.source} has a feature that is NaN or infinite "
                f"({int((~finite).sum())} such in all): repair or remove them"
            )


def create_vector_task(vectors: Vectors, *, cache: Path, seed: int) -> VectorTask:
    """Prepare vectors as a task in a folder of ``cache``, or open it there if it was prepared before.

    Those without a label are in the training split, where the teacher's answers alone are learnt. Raises
    ``DataError`` for a single class and for a class too small to split.
    """
    train, val, test = split_labelled(vectors, seed)
    rest = np.setdiff1d(np.arange(len(vectors.targets)), np.concatenate([train, val, test]))
    known = vectors.targets
    targets = np.concatenate([known[train], np.full(len(rest), UNLABELLED), known[val], known[test]])
    parts = (np.concatenate([train, rest]), val, test)
    notes = (
        (f"{len(rest)} rows have no label or no split: the teacher's answers alone are learnt on them",)
        if len(rest)
        else ()
    )
    return lay_out(VectorTask, vectors, parts, targets, {}, cache=cache, seed=seed, notes=notes)


def split_labelled(vectors: Vectors, seed: int) -> Parts:
    """Rows with a label in train, val and test, as given or drawn by the seed.

    Raises ``DataError`` for fewer than two classes, and for classes that no training row has.
    """
    labelled = np.flatnonzero(vectors.targets != UNLABELLED)
    if len(set(vectors.targets[labelled].tolist())) < 2:
        raise DataError(f"{vectors.source} has fewer than two classes: label {vectors.noun}s of another")
    given = vectors.given
    if given is not None:
        labelled = labelled[given[labelled] != ""]
        trained = set(vectors.targets[labelled][given[labelled] == "train"].tolist())
        absent = [name for index, name in enumerate(vectors.labels) if index not in trained]
        if absent:
            raise DataError(
                f"no {vectors.noun} that trains in {vectors.source} is of class {', '.join(absent[:5])}: move "
                "some there, or remove the class"
            )
    chosen = None if given is None else given[labelled]
    train, val, test = divide(vectors.targets[labelled], chosen, vectors.labels, seed)
    return labelled[train], labelled[val], labelled[test]


def lay_out(
    kind: type[VectorTask],
    vectors: Vectors,
    parts: Parts,
    targets: NDArray[np.int64],
    more: Mapping[str, NDArray[Any]],
    *,
    cache: Path,
    seed: int,
    notes: Sequence[str],
    figures: Figures | None = None,
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> VectorTask:
    """The task of these rows by split and their targets, in order; ``more`` are further arrays, by name.

    ``figures`` are mean and std where they are not those of the training rows, ``facts`` those of the kind's own.
    """
    arrays: dict[str, NDArray[Any]] = {
        "features": vectors.features,
        "order": np.concatenate(parts),
        "targets": targets,
        **more,
    }
    mean, std = figures or _figures(vectors.features[parts[0]])
    known: dict[str, Any] = {
        "labels": vectors.labels,
        "channels": vectors.features.shape[1],
        "counts": dict(zip(SPLITS, map(len, parts), strict=True)),
        "seed": seed,
        "notes": tuple(notes),
        **facts,
    }
    digest = hashlib.blake2b(json.dumps([kind.kind, known]).encode(), digest_size=12)
    for array in arrays.values():
        digest.update(np.ascontiguousarray(array).data)
    fingerprint = digest.hexdigest()
    folder = cache / fingerprint
    if not (folder / "task.json").exists():
        _write(folder, arrays)
        kind(folder=folder, mean=mean, std=std, fingerprint=fingerprint, **known).save()
    return kind.open(folder)


def is_sparse(features: NDArray[np.float32]) -> bool:
    """Whether fewer than a tenth of the numbers are not zero."""
    return bool(np.count_nonzero(features) < _SPARSE * features.size)


def _figures(features: NDArray[Any]) -> Figures:
    """Mean and standard deviation by feature; a feature that never changes is left at its size.

    Sparse features, as counts of words, keep their zeros and have one scale for all of them: by its own deviation
    a word would weigh the more the rarer it is (on Cora a network without a teacher loses 10 points by that).
    """
    if is_sparse(features):
        return (0.0,) * features.shape[1], (float(features.std()) or 1.0,) * features.shape[1]
    mean, std = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    return tuple(mean.tolist()), tuple(np.where(std > 1e-8, std, 1.0).tolist())


def _write(folder: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """The folder of a task but for ``task.json``, the whole of it at once."""
    with whole_folder(folder) as draft:
        for name, array in arrays.items():
            np.save(draft / f"{name}.npy", array)
