"""What an unfinished student says of the finished one, and what rungs of teaching buy at equal time.

``python -m tests.benchmarks.rungs [--data digits] [--candidates 60] [--out DIR] [--overhead 2.0]``

Random candidates of the data's space are taught with the search's schedule and scored after every epoch; and from
the start again with schedules that end at the rungs. Each is a line of ``curves-NAME.jsonl``: stopped, it goes on.
Searches are then replayed from these curves with the search's own ladder, in random orders, on one worker whose
clock counts the processor time of the epochs and ``--overhead`` seconds a candidate (built, compiled, measured).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import nn

from evaluators.distill.allocator import keep_freed_memory
from evaluators.distill.catalogue import load_distiller
from evaluators.distill.schedule import Schedule, search_schedule
from evaluators.distill.teacher_outputs import TeacherOutputs, compute_outputs
from evaluators.distill.trainer import seeded, train_student
from evaluators.tasks.load import load_task
from evaluators.tasks.task import Task
from evaluators.teachers.builtin import builtin_teacher
from results.candidate import Candidate
from results.hypervolume import hypervolume
from results.measurement import Measurement
from search.ladder import Ladder, rungs_of
from spaces.catalogue import load_space
from spaces.choice import Choice
from spaces.space import Space

ORDERS = 200
COST = "size"
"""Multiply-adds stand in for a cost: nothing is compiled here."""
Curve = Mapping[str, Any]


@dataclass(frozen=True)
class School:
    """Where candidates are taught as in a search, and scored after every epoch."""

    task: Task
    space: Space
    outputs: TeacherOutputs
    schedule: Schedule

    @staticmethod
    def open(data: str, cache: Path) -> School:
        """The data with their space, built-in teacher and schedule."""
        task = load_task(data, cache=cache, seed=0)
        schedule = search_schedule(task.size("train"))
        teacher = builtin_teacher(task, cache=cache, seed=0)
        outputs = compute_outputs(teacher, task, views=schedule.views, cache=cache)
        space = load_space(
            task.space, channels=task.channels, image_size=task.image_size, classes=len(task.labels)
        )
        return School(task, space, outputs, schedule)

    def choice(self, number: int) -> Choice:
        """The random candidate of that number."""
        draw = random.Random(number)
        return Choice({name: draw.choice(values) for name, values in self.space.domain.items()})

    def untaught(self, number: int) -> nn.Module:
        """Its network."""
        with seeded(number):
            return self.space.build(self.choice(number))

    def taught(self, number: int, epochs: int) -> list[float]:
        """Its accuracy after each epoch of a schedule of that length."""
        trained = train_student(
            self.untaught(number),
            self.task,
            resolution=self.space.resolution(self.choice(number)),
            distiller=load_distiller(self.task.distill),
            teacher_outputs=self.outputs,
            schedule=replace(self.schedule, epochs=epochs, validations=epochs),
            seed=number,
        )
        return [figures.val_accuracy or 0.0 for figures in trained.history]


def record(data: str, count: int, file: Path, cache: Path) -> list[Curve]:
    """The curves of candidates 0..``count``, those that the file lacks taught now."""
    school = School.open(data, cache)
    curves = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    whole = school.schedule.epochs
    for number in range(len(curves), count):
        began = time.process_time()
        accuracies = school.taught(number, whole)
        seconds = time.process_time() - began
        side = school.space.resolution(school.choice(number))
        curve = {
            "macs": multiply_adds(school.untaught(number), torch.zeros(1, school.task.channels, side, side)),
            "accuracies": accuracies,
            "annealed": {str(rung): school.taught(number, rung)[-1] for rung in rungs_of(whole, 3)[:-1]},
            "seconds": seconds,
        }
        with file.open("a") as lines:
            lines.write(json.dumps(curve) + "\n")
        curves.append(curve)
        print(f"{data}: {number + 1} of {count} candidates", flush=True)
    return curves


def multiply_adds(network: nn.Module, inputs: torch.Tensor) -> int:
    """Of one inference, in convolutions and dense layers."""
    total = 0

    def count(module: nn.Module, _: Any, output: torch.Tensor) -> None:
        nonlocal total
        weight = getattr(module, "weight", None)
        if weight is not None and weight.ndim > 1:
            total += output[0].numel() * weight[0].numel()

    for module in network.modules():
        module.register_forward_hook(count)
    with torch.no_grad():
        network.eval()(inputs)
    return total


def replay(
    curves: Sequence[Curve], order: Sequence[int], rungs: Sequence[int], budget_s: float, overhead: float
) -> list[int]:
    """The candidates fully taught within a time by a search on one worker that meets them in this order."""
    ladder = Ladder(rungs, ("accuracy", COST), len(order))
    clock, coming, reached, done = 0.0, iter(order), dict.fromkeys(order, 0), []
    while True:
        number = ladder.next()
        if number is None:
            number = next(coming, None)
            clock += overhead
        if number is None:
            return done
        ladder.leave(number)
        curve, until = curves[number], next(rung for rung in rungs if rung > reached[number])
        clock += curve["seconds"] * (until - reached[number]) / len(curve["accuracies"])
        if clock > budget_s:
            return done
        reached[number] = until
        if until == rungs[-1]:
            done.append(number)
            continue
        figures = {
            "accuracy": Measurement(curve["accuracies"][until - 1], "share"),
            COST: Measurement(curve["macs"], "byte"),
        }
        ladder.reached(Candidate(number, {}, "", "paused", measurements=figures, fidelity=until / rungs[-1]))


def volume(curves: Sequence[Curve], chosen: Sequence[int], worst: float) -> float:
    """The hypervolume of fully taught candidates: error and the logarithm of the multiply-adds, scaled to 0..1."""
    costs = np.log([curve["macs"] for curve in curves])
    scaled = (costs - costs.min()) / (np.log(worst) - costs.min())
    points = [(1 - curves[each]["accuracies"][-1], float(scaled[each])) for each in chosen]
    return hypervolume(points, (1.0, 1.0001))


def correlations(curves: Sequence[Curve]) -> dict[str, tuple[float, float]]:
    """Kendall's tau to the final accuracy, by rung: unfinished, and with a schedule that ended there."""
    final = [curve["accuracies"][-1] for curve in curves]
    found = {}
    for rung in curves[0]["annealed"]:
        cut = [curve["accuracies"][int(rung) - 1] for curve in curves]
        ended = [curve["annealed"][rung] for curve in curves]
        found[rung] = (float(kendalltau(cut, final)[0]), float(kendalltau(ended, final)[0]))
    return found


def main() -> None:
    """Curves, correlations and replays."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--candidates", type=int, default=60)
    parser.add_argument("--overhead", type=float, default=2.0)
    parser.add_argument("--out", type=Path, default=Path("rungs-benchmark"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    cache = given.out / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    name = Path(given.data).stem
    curves = record(given.data, given.candidates, given.out / f"curves-{name}.jsonl", cache)
    epochs = len(curves[0]["accuracies"])
    for rung, (cut, ended) in correlations(curves).items():
        print(f"{name}: after {rung} of {epochs} epochs, Kendall to the last: {cut:.3f} cut, {ended:.3f} annealed")
    worst = max(curve["macs"] for curve in curves)
    whole_s = statistics.fmean(curve["seconds"] for curve in curves) + given.overhead
    orders = [random.Random(seed).sample(range(len(curves)), len(curves)) for seed in range(ORDERS)]
    best = volume(curves, range(len(curves)), worst)
    figures = {}
    for share in (0.1, 0.2, 0.3):
        budget_s = share * len(curves) * whole_s
        volumes = {}
        for count in (1, 2, 3):
            rungs = rungs_of(epochs, count)
            found = (replay(curves, order, rungs, budget_s, given.overhead) for order in orders)
            volumes[count] = np.array([volume(curves, chosen, worst) / best for chosen in found])
        for count, found in volumes.items():
            low, middle, high = np.quantile(found / np.maximum(volumes[1], 1e-9), (0.25, 0.5, 0.75))
            figures[f"{count}@{share}"] = found.mean()
            print(
                f"{name}: in the time of {share * len(curves):.0f} full trainings, {count} rungs: hypervolume "
                f"{found.mean():.4f} of all candidates', {middle:.3f} ({low:.3f} to {high:.3f}) of one rung's"
            )
    for count in (2, 3):
        found = [replay(curves, order, rungs_of(epochs, count), float("inf"), given.overhead) for order in orders]
        share = figures[f"{count}_all"] = np.mean([volume(curves, chosen, worst) / best for chosen in found])
        print(
            f"{name}: all {len(curves)} candidates, {count} rungs: hypervolume {share:.4f} of one rung's, "
            f"{np.mean(list(map(len, found))):.1f} fully taught"
        )
    print(f"RESULT rungs data={name} " + " ".join(f"hv{key}={value:.4f}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
