"""The latency of a compiled network that no device at hand can measure, with an interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluators.compile.kernel_facts import KernelFacts
from evaluators.latency.predict.correction import Correction, Timed
from evaluators.latency.predict.interval import Errors, learn_errors
from evaluators.latency.predict.network import TERMS, Overheads, learn_overheads, terms_of
from hw_profiles.profile import Profile
from results.measurement import Measurement

_FOLDS = 5


@dataclass(frozen=True)
class TimedNetwork:
    """A network's kernels and the seconds of its call, on the device that is predicted."""

    kernels: tuple[KernelFacts, ...]
    seconds: float


class Predictor:
    """Predicts networks on a device from what was timed there, and on other devices.

    Kernels that were timed there are known; others get the corrected roofline. How wide an interval is, is learnt
    by cross-validation: networks are held out with the kernels that only they have, and their errors are compared
    with what each prediction's unknown kernels make likely.
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
        self._errors = self._held_out(kernels, networks)
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
        doubts = np.array([self._state.doubt(kernels, self._seconds) for kernels in networks])
        factors = np.exp(self._errors.reach(doubts))
        return [
            Measurement(float(value), "s", "predicted", float(value / factor), float(value * factor))
            for value, factor in zip(seconds, factors, strict=True)
        ]

    def unsure(self, kernels: Sequence[KernelFacts]) -> list[tuple[str, float]]:
        """Keys of the kernels that were not timed, their predicted seconds an inference, the longest first."""
        self.predict(kernels)
        times = {each.key: each.calls * self._seconds[each.key] for each in kernels}
        return sorted(
            ((key, time) for key, time in times.items() if key not in self._state.known), key=lambda item: -item[1]
        )

    def _learnt(self, kernels: Mapping[str, Timed], networks: Sequence[TimedNetwork]) -> _State:
        known = {key: timed.seconds for key, timed in kernels.items()}
        correction = Correction(list(kernels.values()), self._base)
        times = _times([network.kernels for network in networks], known, correction, self.profile)
        terms = np.array([terms_of(network.kernels, times) for network in networks]).reshape(
            len(networks), len(TERMS)
        )
        seconds = np.array([network.seconds for network in networks])
        return _State(known, correction, learn_overheads(terms, seconds))

    def _held_out(self, kernels: Mapping[str, Timed], networks: Sequence[TimedNetwork]) -> Errors:
        """What predictions err by, from networks that were left out in turn."""
        errors: list[float] = []
        doubts: list[float] = []
        folds = min(_FOLDS, len(networks))
        for fold in range(folds):
            held = networks[fold::folds]
            rest = [network for number, network in enumerate(networks) if number % folds != fold]
            left = {kernel.key for network in rest for kernel in network.kernels}
            state = self._learnt({key: timed for key, timed in kernels.items() if key in left}, rest)
            times = _times([network.kernels for network in held], state.known, state.correction, self.profile)
            predicted = state.overheads.seconds(np.array([terms_of(network.kernels, times) for network in held]))
            errors += [math.log(one.seconds / each) for one, each in zip(held, predicted, strict=True)]
            doubts += [state.doubt(network.kernels, times) for network in held]
        return learn_errors(np.array(errors), np.array(doubts))


@dataclass(frozen=True)
class _State:
    """What was learnt: seconds of known kernels, the correction for others, the network's overheads."""

    known: Mapping[str, float]
    correction: Correction
    overheads: Overheads

    def doubt(self, kernels: Sequence[KernelFacts], seconds: Mapping[str, float]) -> float:
        """The standard deviation of the logarithm of a prediction that its unknown kernels make likely.

        They err together in part.
        """
        times = [(each.calls * seconds[each.key], each.key in self.known) for each in kernels]
        total = sum(time for time, _ in times) or 1.0
        unknown = [time / total for time, known in times if not known]
        alone = sum(share * share for share in unknown)
        return self.correction.deviation * math.sqrt(alone + sum(unknown) ** 2 / 4)


def _times(
    networks: Sequence[Sequence[KernelFacts]], known: Mapping[str, float], correction: Correction, profile: Profile
) -> dict[str, float]:
    fresh = {kernel.key: kernel for kernels in networks for kernel in kernels if kernel.key not in known}
    found = correction.seconds(list(fresh.values()), profile)
    return {**known, **dict(zip(fresh, map(float, found), strict=True))}
