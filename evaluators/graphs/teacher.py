"""The teacher of a graph's nodes: a graph neural network, trained here once and kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from evaluators.distill.schedule import Schedule
from evaluators.distill.trainer import seeded
from evaluators.graphs.graph_task import GraphTask, WholeGraph
from evaluators.graphs.networks import KINDS, GraphNet
from evaluators.teachers.kept import trained_alone, trained_once
from evaluators.teachers.teacher import ModuleTeacher, Teacher
from spaces.space import VECTOR
from understudy import TeacherError, unknown_name

DEFAULT = "gcn"
"""On Cora its perceptrons are the best of the three; GLNN's own choice is ``sage`` (see the benchmarks)."""
Progress = Callable[[int, int], None]


def graph_teacher(
    kind: str,
    task: GraphTask,
    *,
    cache: Path,
    seed: int,
    width: int | None = None,
    epochs: int = 100,
    progress: Progress | None = None,
) -> Teacher:
    """A graph network of a kind (see ``KINDS``), trained on the labelled nodes unless ``cache`` holds it already.

    It takes nodes by number, int64 (B,). ``progress`` is told epochs done and in all. Raises ``TeacherError`` for
    an unknown kind or without PyTorch Geometric, ``TrainError`` when the training diverges.
    """
    if kind not in KINDS:
        raise TeacherError(
            f"{unknown_name('teacher of a graph', kind, KINDS)}; each is trained here, so that it knows this graph"
        )
    whole = WholeGraph.open(task.folder)
    with seeded(seed):
        network = GraphNet(whole, kind, width)
    schedule = graph_schedule(len(task.features), epochs)
    parts = (task.fingerprint, f"{network} {KINDS[kind]}", str(schedule), str(seed))
    key = trained_once(
        network,
        parts,
        cache,
        lambda unfinished: {"name": kind} | trained_alone(network, whole, schedule, seed, unfinished, progress),
    )
    return ModuleTeacher(
        network,
        name=kind,
        classes=task.classes,
        channels=task.channels,
        resolution=VECTOR,
        fingerprint=f"{kind}-{key}",
    )


def graph_schedule(nodes: int, epochs: int) -> Schedule:
    """The training of a network that knows the graph: every step sees all of its nodes."""
    return Schedule(
        epochs,
        batch_size=2 * nodes,
        learning_rate=0.05,
        weight_decay=5e-3,
        warmup_epochs=5,
        views=0,
        validations=1,
    )
