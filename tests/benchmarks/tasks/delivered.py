"""One task from its data to a bundle, and what the bundle gives when it is measured again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evaluators.cost import as_arrays
from evaluators.latency.against import alternate, onnxruntime_run
from evaluators.latency.quiet import QuietCores
from evaluators.tasks.language_task import LanguageTask
from evaluators.tasks.task import Task
from results.bundle.runner import Bundle, as_tuple, random_inputs
from results.candidate import Student
from results.store import RunStore
from search.config import load_config
from search.display import Display, make_console
from search.preparation import plan_of

_OPEN = (None, "interrupted")


@dataclass(frozen=True)
class Figures:
    """What came of a task.

    ``teacher``, ``alone`` (the same student without the teacher) and ``student`` are what the record keeps as
    accuracy (a share, or one over the perplexity) on the test split, the
    student's measured again through its bundle, beside what the run ``recorded``; times are seconds;
    ``to_onnxruntime`` is the ratio of ours to ONNX Runtime's time on the same student, with its quartiles.
    """

    task: str
    metric: str
    teacher: float
    alone: float | None
    student: float
    recorded: float
    teacher_latency: float | None
    latency: float
    to_onnxruntime: tuple[float, float, float]

    @property
    def retained(self) -> float:
        """The share of the teacher's metric that the delivered student has."""
        return self.student / self.teacher

    @property
    def speedup(self) -> float | None:
        """How many times as fast it is; None where the teacher is nothing to compile (it reads a whole graph)."""
        return None if self.teacher_latency is None else self.teacher_latency / self.latency

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {**asdict(self), "retained": self.retained, "speedup": self.speedup}


def searched(name: str, data: str, options: Sequence[str], runs: Path, say: Callable[[str], None]) -> RunStore:
    """The finished run of a task, begun, gone on with, or there already; its output goes into a log."""
    run = runs / name.replace(" ", "-")
    common = ("--data", data, "--runs", str(runs), "--name", run.name, "--compare-scratch", *options)
    arguments = ("resume", str(run)) if (run / "config.yaml").exists() else ("search", *common)
    if not (run / "config.yaml").exists() or RunStore(run).facts().get("ended_by") in _OPEN:
        say(f"{name}: understudy {' '.join(arguments)}")
        _understudy(arguments, runs / f"{run.name}.log")
    return RunStore.open(run)


def deployed(store: RunStore, student: Student) -> Bundle:
    """The bundle of a student, written unless it is there."""
    folder = store.path / f"bundle-{student.number}"
    if not folder.exists():
        _understudy(
            ("deploy", str(store.path), "--number", str(student.number), "--to", str(folder)),
            store.path / "deploy.log",
        )
    return Bundle(folder)


def chosen(store: RunStore) -> Student:
    """The most accurate student on validation: how fast it must be is the search's limit."""
    students = [each for each in store.students() if each.on_front] or store.students()
    return max(students, key=lambda each: each.measurements["accuracy"].value)


def measured(name: str, store: RunStore) -> Figures:
    """What the bundle of the chosen student gives on the test split, and how fast."""
    student, facts = chosen(store), store.facts()
    bundle, task = deployed(store, student), _task(store)
    figures = student.measurements
    alone = figures.get("scratch_accuracy")
    inputs = random_inputs(bundle.manifest["inputs"])
    with QuietCores.of_this_computer().quiet():
        latency = bundle.bench()["median_s"]
        threads = bundle.student.threads
        turn = alternate(bundle.student, onnxruntime_run(bundle.folder / "student.onnx", threads), inputs)
    return Figures(
        task=name,
        metric=task.metric,
        teacher=facts["teacher"]["accuracy"],
        alone=None if alone is None else alone.value,
        student=_score(bundle, task, student),
        recorded=figures["test_accuracy"].value,
        teacher_latency=(facts["teacher"]["latency"] or {}).get("value"),
        latency=latency,
        to_onnxruntime=(turn.ratio, turn.low, turn.high),
    )


def _score(bundle: Bundle, task: Task, student: Student) -> float:
    if isinstance(task, LanguageTask):
        return _language_score(bundle, task)
    resolution = int(student.choice.get("resolution", task.image_size))
    answers = [
        as_tuple(bundle.student(*as_tuple(as_arrays(task.batch("test", [index], resolution)))))[0][0]
        for index in range(task.size("test"))
    ]
    return task.score(np.stack(answers), task.targets("test"))


def _language_score(bundle: Bundle, task: LanguageTask) -> float:
    """Every window token by token, as the device goes on with a text."""
    cache, kept = random_inputs(bundle.manifest["inputs"])[-1], []
    for index in range(task.size("test")):
        logits = []
        for place, token in enumerate(task.batch("test", [index], task.image_size)[0].tolist()):
            answer, entry = bundle.student(np.array([token]), np.array([place]), cache)
            cache[:, :, :, place] = entry
            logits.append(torch.from_numpy(answer.copy()))
        kept.append(task.kept(torch.cat(logits)[None], "test", [index]))
    return task.score(torch.cat(kept), task.targets("test"))


def _task(store: RunStore) -> Task:
    config = load_config(store.path / "config.yaml", {"runs": str(store.path.parent), "name": store.path.name})
    return plan_of(config, store, Display(make_console()))[1]


def _understudy(arguments: Sequence[str], log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", "from search.cli.main import main; main()", *arguments]
    with log.open("a") as stream:
        subprocess.run(command, check=True, stdout=stream, stderr=stream)
