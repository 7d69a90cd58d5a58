"""What the latency model says of networks that it has not learnt from, against what was measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from evaluators.compile.kernel_facts import KernelFacts
from evaluators.latency.predict.correction import Timed
from evaluators.latency.predict.predictor import Predictor, TimedNetwork
from results.measurement import Measurement
from tests.benchmarks.latency_model.networks import KNOWN, UNSEEN, device
from tests.benchmarks.latency_model.prepare import COMPILED, TIMED, read_lines
from tests.benchmarks.latency_model.timing import counting


@dataclass(frozen=True)
class Measured:
    """Everything that was measured: kernels' facts and networks' kernels and seconds, by device."""

    kernels: dict[str, dict[str, Timed]]
    networks: dict[tuple[str, str], dict[str, TimedNetwork]]

    def predictor(self, name: str, elsewhere: Sequence[Timed] = ()) -> Predictor:
        """What is learnt of a device from its half of the space."""
        networks = list(self.networks.get((name, "train"), {}).values())
        return Predictor(device(name), self.kernels.get(name, {}), networks, elsewhere)


def read_measured(folder: Path) -> Measured:
    """What the other steps left, the machine's drift taken out with the reference of the minute."""
    facts: dict[str, dict[str, KernelFacts]] = {}
    made: dict[tuple[str, ...], tuple[KernelFacts, ...]] = {}
    for line in read_lines(folder / COMPILED):
        kernels = tuple(KernelFacts(**each) for each in line["facts"])
        made[tuple(line["candidate"])] = kernels
        facts.setdefault(line["candidate"][0], {}).update({kernel.key: kernel for kernel in kernels})
    kernels: dict[str, dict[str, Timed]] = {}
    networks: dict[tuple[str, str], dict[str, TimedNetwork]] = {}
    timed = read_lines(folder / TIMED)
    usual = {
        name: statistics.median(line["before"] for line in timed if line["candidate"][0] == name)
        for name in {line["candidate"][0] for line in timed}
    }
    for line in counting(timed):
        name, use, network = line["candidate"]
        slower = (line["before"] + line["after"]) / 2 / usual[name]
        for key, seconds in line["kernels"].items():
            known = kernels.setdefault(name, {})
            shortest = min(seconds / slower, known[key].seconds if key in known else math.inf)
            known[key] = Timed(facts[name][key], shortest, device(name))
        found = networks.setdefault((name, use), {})
        shortest = min(
            line["seconds"]["median_s"] / slower, found[network].seconds if network in found else math.inf
        )
        found[network] = TimedNetwork(made[name, use, network], shortest)
    return Measured(kernels, networks)


@dataclass(frozen=True)
class Score:
    """Predictions of some networks against their measured seconds."""

    count: int
    within10: float
    mape: float
    kendall: float
    coverage: float


def score(predictor: Predictor, networks: Sequence[TimedNetwork]) -> Score:
    """How good a predictor's predictions are."""
    found: list[Measurement] = predictor.predict_many([network.kernels for network in networks])
    actual = np.array([network.seconds for network in networks])
    errors = np.abs(np.array([each.value for each in found]) / actual - 1)
    held = [(each.low or 0) <= truth <= (each.high or 0) for each, truth in zip(found, actual, strict=True)]
    tau = kendalltau([each.value for each in found], actual).statistic
    return Score(
        len(actual), float(np.mean(errors <= 0.1)), float(errors.mean()), float(tau), float(np.mean(held))
    )


def report(folder: Path) -> str:
    """Print a line for each group of networks; the line of the result."""
    measured = read_measured(folder)
    known = measured.predictor(KNOWN)
    ours = score(known, list(measured.networks[KNOWN, "test"].values()))
    print(_line("students of the other half", ours), flush=True)
    others = measured.networks.get((KNOWN, "others"), {})
    for name, network in others.items():
        print(
            f"  {name}: predicted {known.predict(network.kernels)}, measured {Measurement(network.seconds, 's')}"
        )
    elsewhere = list(measured.kernels[KNOWN].values())
    after = []
    for name in UNSEEN:
        if (name, "test") in measured.networks:
            after.append(
                score(measured.predictor(name, elsewhere), list(measured.networks[name, "test"].values()))
            )
            print(_line(f"{name}, after ten networks", after[-1]), flush=True)
    return (
        f"RESULT latency_model within10={ours.within10:.3f} mape={ours.mape:.4f} kendall={ours.kendall:.3f} "
        f"after10_kendall={min((each.kendall for each in after), default=float('nan')):.3f} "
        f"interval_coverage90={ours.coverage:.3f}"
    )


def _line(name: str, found: Score) -> str:
    return (
        f"{name}: {found.count}: {100 * found.within10:.0f} % within 10 %, off {100 * found.mape:.1f} %, "
        f"Kendall {found.kendall:.3f}, intervals hold {100 * found.coverage:.0f} %"
    )
