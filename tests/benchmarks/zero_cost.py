"""Whether scores of untrained networks tell the sampler more of accuracy than it learns without them.

``python -m tests.benchmarks.zero_cost RUN [--taught 15] [--splits 40]``; see ``tests/benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from scipy.stats import kendalltau
from torch import Tensor, nn

from evaluators.distill.trainer import seeded
from results.candidate import Candidate
from results.measurement import Measurement
from results.store import RunStore
from search.config import load_config
from search.display import Display
from search.preparation import plan_of
from search.samplers.accuracy import AccuracyModel, Seen, Taught
from search.samplers.candidates import Candidates
from spaces.batch import single
from spaces.space import Space
from spaces.structure import cost

Array = NDArray[np.float64]
_IMAGES, _SEEDS, _DRAWS = 64, 2, 1_000


def naswot(network: nn.Module, images: Tensor) -> float:
    """How unlike the patterns of active units are that images give (Mellor et al., 2021, arXiv:2006.04647)."""
    alike = torch.zeros(len(images), len(images))

    def compare(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        active = (inputs[0].flatten(1) > 0).float()
        alike.add_(active @ active.T + (1 - active) @ (1 - active).T)

    for each in network.modules():
        if isinstance(each, nn.ReLU | nn.Hardswish):
            each.register_forward_pre_hook(compare)
    with torch.no_grad():
        network(images)
    return float(torch.linalg.slogdet(alike.double()).logabsdet)


def synflow(network: nn.Module, images: Tensor) -> float:
    """The logarithm of the sum of weights times gradients, all positive, without norms (Tanaka et al., 2020,
    arXiv:2006.05467; as a score Abdelfattah et al., 2021, arXiv:2101.08134)."""
    network.double().eval()
    for parameter in network.parameters():
        parameter.data.abs_()
    weights = [each.weight for each in network.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    slopes = torch.autograd.grad(network(torch.ones_like(images[:1], dtype=torch.float64)).sum(), weights)
    return math.log(sum(float((each.detach() * slope).sum()) for each, slope in zip(weights, slopes, strict=True)))


def size(network: nn.Module, images: Tensor) -> float:
    """The logarithm of parameters and multiply-adds: what a score must beat."""
    return math.log(cost(network, images[:1]))


def expected(space: Space, columns: Sequence[str], taught: list[Candidate], others: list[Candidate]) -> Array:
    """The accuracies of others that the sampler's model expects; its trend is that of the first column."""
    described = Candidates(space.domain, columns, None)
    model = AccuracyModel(described.encoding, columns)

    def seen(count: int) -> Seen:
        first = taught[:count]
        return Seen(Taught(described.measured(first, first), 1 - accuracies(first)), None)

    learnt = model.learnt(seen(len(taught)), described.described([], []), seen)
    return 1 - learnt.mean(described.measured(others, others))


def told(
    space: Space, columns: Sequence[str], known: list[Candidate], orders: NDArray[np.int64], taught: int
) -> Array:
    """By order, error (points) and Kendall's tau of what is expected of all but the first few: (orders, 2)."""
    found = []
    for order in orders:
        mixed = [known[at] for at in order.tolist()]
        guess, true = expected(space, columns, mixed[:taught], mixed[taught:]), accuracies(mixed[taught:])
        found.append((100 * math.sqrt(((guess - true) ** 2).mean()), tau(guess, true)))
    return np.array(found)


def accuracies(candidates: list[Candidate]) -> Array:
    """Those of taught candidates, shares."""
    return np.array([each.measurements["accuracy"].value for each in candidates], float)


def tau(first: Array, second: Array) -> float:
    """Kendall's tau-b, 0 where there is none."""
    return float(np.nan_to_num(kendalltau(first, second).statistic))


def main() -> None:
    """How each score ranks the taught candidates of a run, and what the sampler gains by it."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.zero_cost", description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a run of pictures with 20 taught candidates or more")
    parser.add_argument("--taught", type=int, default=15, help="candidates at random to learn from")
    parser.add_argument("--splits", type=int, default=40, help="into these and others, which are predicted")
    options = parser.parse_args()
    torch.set_num_threads(1)
    store, config = RunStore.open(options.run), load_config(options.run / "config.yaml", {"supernet": None})
    plan, task = plan_of(config, store, Display(Console(stderr=True)))
    space, candidates = plan.space(), [each for each in store.candidates() if each.state == "done"]
    if len(candidates) < options.taught + 5 or task.tokens or task.several or task.dense:
        parser.error(f"{options.run} is no run of pictures in classes with {options.taught + 5} taught candidates")
    task.prepare(space.resolutions)
    random, true = np.random.default_rng(0), accuracies(candidates)
    ids = random.permutation(task.size("train"))[:_IMAGES]
    batches = {side: single(task.batch("train", ids, side)) for side in space.resolutions}
    orders = np.array([random.permutation(len(candidates)) for _ in range(options.splits)])
    draws = random.integers(len(candidates), size=(_DRAWS, len(candidates)))
    own = told(space, ["latency"], candidates, orders, options.taught)
    print("after {}: error {:.2f} points, tau {:.3f}".format(options.taught, *own.mean(0)))
    for score in (naswot, synflow, size):
        scores, began, name = np.zeros(len(candidates)), time.process_time(), score.__name__
        for at, seed in np.ndindex(len(candidates), _SEEDS):
            choice = candidates[at].choice
            with seeded(seed):
                scores[at] += score(space.build(choice).train(), batches[space.resolution(choice)]) / _SEEDS
        took = 1e3 * (time.process_time() - began) / _SEEDS / len(candidates)
        low, high = np.quantile([tau(scores[each], true[each]) for each in draws], [0.025, 0.975])
        print(f"{name}: {took:.0f} ms; tau {tau(scores, true):.2f} ({low:.2f} to {high:.2f})", flush=True)
        figures = [Measurement(float(value), "share") for value in np.exp((scores - scores.mean()) / scores.std())]
        pairs = zip(candidates, figures, strict=True)
        known = [replace(each, measurements={**each.measurements, name: figure}) for each, figure in pairs]
        for what, columns in {"column": ["latency", name], "trend": [name, "latency"]}.items():
            gain = told(space, columns, known, orders, options.taught) - own
            more, by = gain.mean(0), 2 * gain.std(0) / math.sqrt(options.splits)
            print(
                f"  as a {what}: error {more[0]:+.2f} ± {by[0]:.2f}, tau {more[1]:+.3f} ± {by[1]:.3f}", flush=True
            )


if __name__ == "__main__":
    main()
