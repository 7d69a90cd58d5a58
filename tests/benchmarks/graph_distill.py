"""Does a perceptron that sees no graph keep what a graph network knows? Seeds, means and intervals.

    python -m tests.benchmarks.graph_distill --data cora.npz [--teachers gcn sage] [--seeds 5] [--small]

A line a method: accuracy on the test nodes, mean and 95 % interval over the seeds, each with a teacher of its own.
``--small`` also teaches a graph network of an eighth of the width. The last line:

    RESULT graph mlp_minus_teacher=<points> mlp_minus_alone=<points> teacher=<share> mlp=<share> alone=<share>

of the first teacher.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from scipy import stats
from torch import nn

from evaluators.distill.distiller import Distiller
from evaluators.distill.evaluate import predict_logits
from evaluators.distill.methods.response import HardLabels, SoftTargets
from evaluators.distill.schedule import Schedule, final_schedule
from evaluators.distill.teacher_outputs import TeacherOutputs, compute_outputs
from evaluators.distill.trainer import seeded, train_student
from evaluators.graphs.graph_task import GraphTask, WholeGraph
from evaluators.graphs.networks import KINDS, GraphNet
from evaluators.graphs.structure import LocalStructure
from evaluators.graphs.teacher import graph_schedule, graph_teacher
from evaluators.tasks.load import load_task
from evaluators.tasks.task import Task
from evaluators.teachers.teacher import Teacher
from spaces.catalogue import load_space
from spaces.space import VECTOR

STUDENT = {"width": 128, "depth": 0, "activation": "relu", "dropout": "strong"}
EPOCHS = 100
METHODS: Mapping[str, Distiller] = MappingProxyType(
    {
        "perceptron, GLNN": SoftTargets(temperature=1.0, weight=1.0),
        "perceptron, soft-targets": SoftTargets(),
        "perceptron, local-structure": LocalStructure(),
    }
)
"""How perceptrons are taught; the first is the one of the last line."""
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One method of one teacher: test accuracies, 0..1, one a seed."""

    teacher: str
    method: str
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores))

    @property
    def reach(self) -> float:
        """Half of the 95 % interval of the mean (Student's t); NaN for one seed."""
        count = len(self.scores)
        if count < 2:
            return float("nan")
        return float(stats.t.ppf(0.975, count - 1) * np.std(self.scores, ddof=1) / count**0.5)

    def __str__(self) -> str:
        return f"| {self.teacher} | {self.method} | {100 * self.mean:.2f} ± {100 * self.reach:.2f} |"


def graph_rows(
    data: Path, kinds: Sequence[str], seeds: int, cache: Path, *, small: bool = False, tell: Progress = print
) -> list[Row]:
    """Every method for every kind of teacher over the seeds 0 to ``seeds - 1``."""
    task = load_task(str(data), cache=cache, seed=0)
    if not isinstance(task, GraphTask):
        raise SystemExit(f"{data} holds no graph")
    alone = [_perceptron(task, HardLabels(), (None, None), seed) for seed in range(seeds)]
    rows = [_row("none", "perceptron, labels alone", alone)]
    tell(str(rows[0]))
    for kind in kinds:
        taught = [_teacher(task, kind, seed, cache) for seed in range(seeds)]
        found = {"the teacher itself": [_score(each.module, WholeGraph.open(task.folder)) for each, _ in taught]}
        for name, distiller in METHODS.items():
            found[name] = [_perceptron(task, distiller, each, seed) for seed, each in enumerate(taught)]
        if small:
            found |= _small(task, kind, taught)
        rows += [_row(kind, name, scores) for name, scores in found.items()]
        for row in rows[-len(found) :]:
            tell(str(row))
    return rows


def _row(teacher: str, method: str, scores: Sequence[float]) -> Row:
    return Row(teacher, method, tuple(scores))


def _teacher(task: GraphTask, kind: str, seed: int, cache: Path) -> tuple[Teacher, TeacherOutputs]:
    teacher = graph_teacher(kind, task, cache=cache, seed=seed, epochs=EPOCHS)
    return teacher, compute_outputs(teacher, task, views=final_schedule(task.size("train")).views, cache=cache)


def _perceptron(
    task: GraphTask, distiller: Distiller, teaching: tuple[Teacher | None, TeacherOutputs | None], seed: int
) -> float:
    """Test accuracy of a perceptron: the same network, epochs and order of samples with a teacher and without."""
    space = load_space("mlp", channels=task.channels, image_size=VECTOR, classes=task.classes)
    with seeded(seed):
        network = space.build(STUDENT)
    return _taught(network, task, distiller, teaching, final_schedule(task.size("train")), seed)


def _small(task: GraphTask, kind: str, taught: Sequence[tuple[Teacher, TeacherOutputs]]) -> dict[str, list[float]]:
    """Test accuracies of a graph network of an eighth of the teacher's width, by how it was taught."""
    whole = WholeGraph.open(task.folder)
    methods: dict[str, Distiller] = {
        "labels alone": HardLabels(),
        "soft-targets": SoftTargets(),
    }
    scores: dict[str, list[float]] = {f"{kind} of 1/8 width, {name}": [] for name in methods}
    for name, distiller in methods.items():
        for seed, teaching in enumerate(taught):
            with seeded(seed):
                network = GraphNet(whole, kind, KINDS[kind].width // 8)
            schedule = graph_schedule(len(task.features), EPOCHS)
            score = _taught(network, whole, distiller, teaching, schedule, seed)
            scores[f"{kind} of 1/8 width, {name}"].append(score)
    return scores


def _taught(
    network: nn.Module,
    task: Task,
    distiller: Distiller,
    teaching: tuple[Teacher | None, TeacherOutputs | None],
    schedule: Schedule,
    seed: int,
) -> float:
    teacher, outputs = teaching
    train_student(
        network,
        task,
        resolution=VECTOR,
        distiller=distiller,
        teacher_outputs=outputs,
        teacher=teacher,
        schedule=schedule,
        seed=seed,
    )
    return _score(network, task)


def _score(network: nn.Module | None, task: Task) -> float:
    assert network is not None
    return task.score(predict_logits(network, task, "test", VECTOR), task.targets("test"))


def result_line(rows: Sequence[Row]) -> str:
    """The last line, of the first teacher."""
    alone, teacher, student = rows[0].mean, rows[1].mean, rows[2].mean
    gaps = {"mlp_minus_teacher": student - teacher, "mlp_minus_alone": student - alone}
    points = " ".join(f"{name}={100 * gap:.2f}" for name, gap in gaps.items())
    return f"RESULT graph {points} teacher={teacher:.4f} mlp={student:.4f} alone={alone:.4f}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a graph: .npz, or a folder of tables")
    parser.add_argument("--teachers", nargs="+", default=["sage", "gcn"], choices=list(KINDS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="also teach a smaller graph network")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| teacher | taught | test nodes right, % |\n|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="understudy-") as cache:
        rows = graph_rows(options.data, options.teachers, options.seeds, Path(cache), small=options.small)
    print(result_line(rows))


if __name__ == "__main__":
    main()
