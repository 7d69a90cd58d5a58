"""Whether later images look like those that a student was taught with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_DRAWS = 100
_FEWEST = 16


@dataclass(frozen=True)
class Drift:
    """How far later images are from the earlier.

    ``distance`` is the Fréchet distance of the student's penultimate features (as in FID; Heusel et al., 2017)
    between the earlier training images and draws of the later, and ``usual`` the same for draws as large of
    earlier images that were not trained on: each the 2.5th, 50th and 97.5th percentile of a bootstrap. None
    where there is nothing to compare. ``mean_shift`` and ``spread`` are by channel: the difference of the pixel
    means in standard deviations of the earlier ones, and the ratio of the standard deviations.
    """

    distance: tuple[float, float, float] | None
    usual: tuple[float, float, float] | None
    mean_shift: tuple[float, ...]
    spread: tuple[float, ...]

    @property
    def drifted(self) -> bool:
        """Whether the later features are surely further off than earlier ones usually are."""
        return self.distance is not None and self.usual is not None and self.distance[0] > self.usual[2]

    @property
    def sentence(self) -> str:
        """What to tell the user."""
        shift = max(map(abs, self.mean_shift))
        pixels = (
            f"their brightness differs by {shift:.2f} standard deviations and their contrast by a factor of "
            f"{max(max(each, 1 / each) for each in self.spread):.2f}"
        )
        if self.distance is None or self.usual is None:
            return f"No class has enough images in both the new and the earlier data to compare; {pixels}."
        (low, middle, high), (_, usual, most) = self.distance, self.usual
        far = f"Fréchet distance {middle:.3g} ({low:.3g} to {high:.3g}), usually {usual:.3g} (up to {most:.3g})"
        look = "look different from" if self.drifted else "look like"
        return f"To the student, the new images of known classes {look} the earlier ones: {far}; {pixels}."

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the sentence."""
        return {**asdict(self), "drifted": self.drifted, "sentence": self.sentence}


@dataclass(frozen=True)
class Sample:
    """Features (N, D) with their classes (N,)."""

    features: Floats
    targets: NDArray[np.int64]

    def of(self, labels: NDArray[np.int64]) -> Sample:
        """The part that is of these classes."""
        rows = np.isin(self.targets, labels)
        return Sample(self.features[rows], self.targets[rows])


def feature_drift(
    taught: Sample, unseen: Sample, later: Sample, seed: int
) -> tuple[tuple[float, float, float], tuple[float, float, float]] | None:
    """``Drift.distance`` and ``Drift.usual`` over the classes that all three have, mixed as in ``later``.

    None where they share no class, or fewer than 16 images of one are at hand.
    """
    labels = np.intersect1d(np.intersect1d(later.targets, unseen.targets), taught.targets)
    later, unseen, taught = later.of(labels), unseen.of(labels), taught.of(labels)
    if not len(labels) or min(len(later.targets), len(unseen.targets)) < _FEWEST:
        return None
    generator = np.random.default_rng(seed)
    reference = _moments(taught.features[_mixed(taught, later.targets, generator, 4)])
    root = _root(reference[1])
    distances, usual = [], []
    for _ in range(_DRAWS):
        rows = generator.integers(len(later.targets), size=len(later.targets))
        distances.append(_frechet(reference, root, _moments(later.features[rows])))
        usual.append(
            _frechet(reference, root, _moments(unseen.features[_mixed(unseen, later.targets[rows], generator)]))
        )
    return _interval(distances), _interval(usual)


def pixel_drift(
    mean: Sequence[float], std: Sequence[float], later: NDArray[np.uint8]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """``Drift.mean_shift`` and ``Drift.spread`` of later pictures, uint8 (N, C, R, R), against earlier figures."""
    scaled = later.astype(np.float32) / 255
    means, deviations = scaled.mean((0, 2, 3)), scaled.std((0, 2, 3))
    shift = tuple(float((new - old) / width) for new, old, width in zip(means, mean, std, strict=True))
    return shift, tuple(float(max(new, 1e-6) / old) for new, old in zip(deviations, std, strict=True))


def _mixed(
    sample: Sample, wanted: NDArray[np.int64], generator: np.random.Generator, times: int = 1
) -> NDArray[np.int64]:
    """Rows drawn from a sample, of each class ``times`` as many as are wanted."""
    rows = []
    for label, count in zip(*np.unique(wanted, return_counts=True), strict=True):
        rows.append(generator.choice(np.flatnonzero(sample.targets == label), times * int(count)))
    return np.concatenate(rows)


def _moments(features: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    wide = features.astype(np.float64)
    return wide.mean(axis=0), np.cov(wide, rowvar=False).reshape(wide.shape[1], wide.shape[1])


def _frechet(
    one: tuple[NDArray[np.float64], NDArray[np.float64]],
    root: NDArray[np.float64],
    other: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> float:
    """Fréchet distance of two normal distributions: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    ``root`` is that of the first one's covariance.
    """
    crossed = np.linalg.eigvalsh(root @ other[1] @ root).clip(0)
    apart = float(((one[0] - other[0]) ** 2).sum())
    return max(0.0, apart + float(np.trace(one[1]) + np.trace(other[1]) - 2 * np.sqrt(crossed).sum()))


def _root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(matrix)
    root: NDArray[np.float64] = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    return root


def _interval(values: list[float]) -> tuple[float, float, float]:
    low, middle, high = np.percentile(values, [2.5, 50, 97.5])
    return float(low), float(middle), float(high)
