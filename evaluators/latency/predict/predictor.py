"""The latency of a compiled network that no device at hand can measure, with an interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from evaluators.compile.kernel_facts import KernelFacts
from evaluators.latency.predict.correction import Correction, Timed
from evaluators.latency.predict.network import TERMS, Overheads, learn_overheads, terms_of
from hw_profiles.profile import Profile
from results.measurement import Measurement

COVERAGE = 0.9
"""Share of networks whose measured latency lies in the interval of its prediction."""

_FOLDS = 5
_NOISE = 0.03
"""Standard deviation of a logarithm that even a network of known kernels is predicted with."""

_MANY = 40
"""So many errors show by themselves where their quantiles lie."""

_BELIEF = 10
"""So many errors of the expected size are what is believed of a device beforehand."""


@dataclass(frozen=True)
class TimedNetwork:
    """A network's kernels and the seconds of its call, on the device that is predicted."""

    kernels: tuple[KernelFacts, ...]
    seconds: float


class Predictor:
    """Predicts networks on a device from what was timed there, and on other devices.

    Kernels that were timed there are known; others get the corrected roofline. The interval is conformal
    (Vovk, Gammerman and Shafer, 2005): networks are held out with the kernels that only they have, and the ends
    are quantiles of their errors, in units of what each prediction's unknown kernels make likely. Few networks
    show no quantiles: there the errors are taken for normal, of a size between theirs and the expected one.
    """

    def __init__(
        self,
        profile: Profile,
        kernels: Mapping[str, Timed],
        networks: Sequence[TimedNetwork] = (),
        elsewhere: Sequence[Timed] = (),
    ) -> None:
        """``kernels`` by key and ``networks`` were timed on the device, ``elsewhere`` on others."""
        self.profile = profile
        self._base = Correction(elsewhere) if elsewhere else None
        self._state = self._learnt(kernels, networks)
        self._ends = self._calibrated(kernels, networks)
        self._seconds: dict[str, float] = dict(self._state.known)

    def predict(self, kernels: Sequence[KernelFacts]) -> Measurement:
        """The latency of one inference of a network of these kernels, in seconds."""
        return self.predict_many([kernels])[0]

    def predict_many(self, networks: Sequence[Sequence[KernelFacts]]) -> list[Measurement]:
        """The latency of each; a kernel is looked at the first time that it is met."""
        fresh = {
            kernel.key: kernel for kernels in networks for kernel in kernels if kernel.key not in self._seconds
        }
        found = self._state.correction.seconds(list(fresh.values()), self.profile)
        self._seconds.update(zip(fresh, map(float, found), strict=True))
        terms = np.array([terms_of(kernels, self._seconds) for kernels in networks])
        seconds = self._state.overheads.seconds(terms)
        spreads = [self._state.spread(kernels, self._seconds) for kernels in networks]
        return [self._measurement(value, spread) for value, spread in zip(seconds, spreads, strict=True)]

    def unsure(self, kernels: Sequence[KernelFacts]) -> list[tuple[str, float]]:
        """Keys of the kernels that were not timed, their predicted seconds an inference, the longest first."""
        self.predict(kernels)
        times = {each.key: each.calls * self._seconds[each.key] for each in kernels}
        return sorted(
            ((key, time) for key, time in times.items() if key not in self._state.known), key=lambda item: -item[1]
        )

    def _measurement(self, seconds: float, spread: float) -> Measurement:
        low, high = (float(seconds * math.exp(end * spread)) for end in self._ends)
        return Measurement(float(seconds), "s", "predicted", min(low, float(seconds)), max(high, float(seconds)))

    def _learnt(self, kernels: Mapping[str, Timed], networks: Sequence[TimedNetwork]) -> _State:
        known = {key: timed.seconds for key, timed in kernels.items()}
        correction = Correction(list(kernels.values()), self._base)
        times = _times([network.kernels for network in networks], known, correction, self.profile)
        terms = np.array([terms_of(network.kernels, times) for network in networks]).reshape(
            len(networks), len(TERMS)
        )
        seconds = np.array([network.seconds for network in networks])
        return _State(known, correction, learn_overheads(terms, seconds))

    def _calibrated(self, kernels: Mapping[str, Timed], networks: Sequence[TimedNetwork]) -> tuple[float, float]:
        """The ends of the interval in units of a prediction's spread."""
        errors: list[float] = []
        folds = min(_FOLDS, len(networks))
        for fold in range(folds):
            held = networks[fold::folds]
            rest = [network for number, network in enumerate(networks) if number % folds != fold]
            left = {kernel.key for network in rest for kernel in network.kernels}
            state = self._learnt({key: timed for key, timed in kernels.items() if key in left}, rest)
            errors += _errors(state, held, self.profile)
        if len(errors) < _MANY:
            return _likely(errors)
        low, high = _conformal(np.array(errors))
        return min(low, 0.0), max(high, 0.0)


@dataclass(frozen=True)
class _State:
    """What was learnt: seconds of known kernels, the correction for others, the network's overheads."""

    known: Mapping[str, float]
    correction: Correction
    overheads: Overheads

    def spread(self, kernels: Sequence[KernelFacts], seconds: Mapping[str, float]) -> float:
        """The likely size of the error of the logarithm of a prediction: unknown kernels err together in part."""
        times = [(each.calls * seconds[each.key], each.key in self.known) for each in kernels]
        total = sum(time for time, _ in times) or 1.0
        unknown = [time / total for time, known in times if not known]
        alone = sum(share * share for share in unknown)
        return math.sqrt(_NOISE**2 + self.correction.deviation**2 * (alone + sum(unknown) ** 2 / 4))


def _times(
    networks: Sequence[Sequence[KernelFacts]], known: Mapping[str, float], correction: Correction, profile: Profile
) -> dict[str, float]:
    fresh = {kernel.key: kernel for kernels in networks for kernel in kernels if kernel.key not in known}
    found = correction.seconds(list(fresh.values()), profile)
    return {**known, **dict(zip(fresh, map(float, found), strict=True))}


def _errors(state: _State, held: Sequence[TimedNetwork], profile: Profile) -> list[float]:
    """Errors of the logarithm of networks left out, in units of their spread."""
    times = _times([network.kernels for network in held], state.known, state.correction, profile)
    terms = np.array([terms_of(network.kernels, times) for network in held])
    return [
        math.log(network.seconds / predicted) / state.spread(network.kernels, times)
        for network, predicted in zip(held, state.overheads.seconds(terms), strict=True)
    ]


def _likely(errors: Sequence[float]) -> tuple[float, float]:
    """The ends of a few errors' interval: Student's t on their size, drawn to what the spread says it is."""
    count = len(errors) + _BELIEF
    size = math.sqrt((sum(error * error for error in errors) + _BELIEF) / count)
    end = size * float(stdtrit(count, (1 + COVERAGE) / 2))
    return -end, end


def _conformal(errors: NDArray[np.float64]) -> tuple[float, float]:
    """The two ends that a new error lies between with the wanted probability, however errors are distributed."""
    tail = (1 - COVERAGE) / 2 * (1 + 1 / len(errors))
    low, high = np.quantile(errors, [max(0.0, tail - 1 / len(errors)), min(1.0, 1 - tail + 1 / len(errors))])
    return float(low), float(high)
