"""One candidate's way: built, compiled, checked, measured, and taught only if it fits the budget."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from evaluators.cost import cost_of
from evaluators.distill.beginning import begin_from_teacher
from evaluators.distill.distiller import Distiller
from evaluators.distill.method_text import method_text
from evaluators.distill.schedule import Schedule
from evaluators.distill.stretch import Stretch
from evaluators.distill.trainer import Trained, train_student
from evaluators.quantise.phases import phases
from evaluators.stages import Stages
from evaluators.supernet.score import inherited_logits
from evaluators.tasks.language_task import LanguageTask
from evaluators.workbench import Workbench
from results.candidate import State
from results.measurement import Measurement, Unit, unit_of
from spaces.batch import Batch, single
from spaces.choice import Choice

CHECKED_IMAGES = 4
INHERITED = "with weights inherited from the supernet"
"""The conditions of an accuracy that no training of the candidate's own went before."""


@dataclass(frozen=True)
class Outcome:
    """How an evaluation ended; the fields are those of ``results.candidate.Candidate``."""

    state: State
    measurements: Mapping[str, Measurement]
    seconds: Mapping[str, float]
    reason: str = ""
    taught_by: str = ""


def evaluate_candidate(
    bench: Workbench,
    choice: Choice,
    number: int,
    known: Mapping[str, Measurement] | None = None,
    until: int | None = None,
) -> Outcome:
    """Evaluate one choice, cheap things first.

    Compiled size and planned memory are held against the budget, then the measured latency; only what is
    within all limits of a target is taught, or, where the bench trusts its supernet, scored. ``known`` are these
    figures of the same architecture where it was compiled and measured before, or taught in another way; they are
    not taken again. Teaching goes on where it was left, and ends after the epoch ``until`` (from 1), or after the
    last. Raises ``UnderstudyError`` when a stage fails.
    """
    stages = Stages()
    with stages.stage("build"), bench.working():
        network = build_student(bench, choice, number)
    figures = known or _cost(bench, choice, network, stages)
    broken = bench.goals.violation(figures)
    if broken:
        return Outcome("infeasible", figures, stages.seconds, broken)
    if bench.trusted:
        with stages.stage("score"):
            score = scored(bench, network, choice)
        learnt = share_figures(
            unit_of(bench.task.metric), INHERITED, accuracy=score.val_accuracy, agreement=score.agreement
        )
        return Outcome("done", {**learnt, **figures}, stages.seconds)
    distiller = bench.distiller_for(choice)
    with stages.stage("train"):
        part = _training(bench, choice, number, bench.schedule.epochs if until is None else until)
        trained = teach(bench, network, choice, number, distiller, bench.schedule, part)
    learnt = share_figures(unit_of(bench.task.metric), accuracy=trained.val_accuracy, agreement=trained.agreement)
    return Outcome("done", {**learnt, **figures}, stages.seconds, taught_by=method_text(distiller))


def training_file(scratch: Path, number: int) -> Path:
    """Where the unfinished teaching of a candidate is kept."""
    return scratch / "trainings" / f"{number}.pt"


def kept_epochs(bench: Workbench, choice: Choice, number: int) -> int:
    """How many epochs of a candidate's teaching are kept from before."""
    kept = _training(bench, choice, number, bench.schedule.epochs).load()
    return 0 if kept is None else len(kept["history"])


def _training(bench: Workbench, choice: Choice, number: int, until: int) -> Stretch:
    method = method_text(bench.distiller_for(choice))
    what = f"{bench.seed} {choice.key} {method} {bench.schedule}"
    return Stretch(until, training_file(bench.scratch, number), what)


@dataclass(frozen=True)
class Score:
    """What a sub-network reaches with inherited weights, shares in 0..1; agreement None where nobody teaches."""

    val_accuracy: float
    agreement: float | None


def scored(bench: Workbench, network: nn.Module, choice: Choice) -> Score:
    """Score a network with the weights it inherited; its batch norms learn their statistics anew."""
    task, resolution = bench.task, bench.space.resolution(choice)
    logits = inherited_logits(network, task, resolution, device=bench.torch_device, guard=bench.working)
    reference = bench.reference
    same = None if reference is None else task.agreement(logits, np.array(reference.logits("val")))
    return Score(task.score(logits, task.targets("val")), same)


def _cost(bench: Workbench, choice: Choice, network: nn.Module, stages: Stages) -> Mapping[str, Measurement]:
    """What the network costs on every target, compiled and measured now."""
    inputs = real_inputs(bench, bench.space.resolution(choice))
    bench.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bench.scratch) as folder:
        return cost_of(bench, network, inputs, Path(folder), stages)


def build_student(bench: Workbench, choice: Choice, number: int) -> nn.Module:
    """The network of a choice before it is taught: initialised from the candidate's own seed, or by a supernet.

    Where students compute in integers, it simulates them.
    """
    torch.manual_seed(candidate_seed(bench.seed, number))
    network = bench.space.build(choice) if bench.supernet is None else bench.supernet.inherit(choice)
    if bench.precision is not None:
        bench.precision.prepare(network, choice, single(real_inputs(bench, bench.space.resolution(choice))))
    return network


def teach(
    bench: Workbench,
    network: nn.Module,
    choice: Choice,
    number: int,
    distiller: Distiller,
    schedule: Schedule,
    part: Stretch | None = None,
) -> Trained:
    """Teach the network of a choice in place, all of the schedule or a part of it; raises as ``train_student``.

    One that is to go on with texts, and is taught by a teacher, begins with that one's weights as far as they fit.
    """
    resolution = bench.space.resolution(choice)
    if distiller.uses_teacher and isinstance(bench.task, LanguageTask):
        with bench.working():
            begin_from_teacher(network, bench.teacher, bench.task)
    return train_student(
        network,
        bench.task,
        resolution=resolution,
        distiller=distiller,
        teacher_outputs=bench.teacher_outputs,
        schedule=schedule,
        seed=candidate_seed(bench.seed, number),
        device=bench.torch_device,
        step_guard=bench.working,
        on_epoch=phases(network, bench.task, resolution, schedule.epochs, bench.working),
        teacher=bench.teacher_for(distiller),
        reference=bench.reference,
        stretch=part,
    )


def candidate_seed(seed: int, number: int) -> int:
    """The seed of a candidate: a function of the run's seed and the candidate's number alone."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def real_inputs(bench: Workbench, resolution: int) -> Batch:
    """The first samples of the validation split as the network gets them, such as (n, C, R, R) float32."""
    count = min(CHECKED_IMAGES, len(bench.task.targets("val")))
    return bench.task.batch("val", np.arange(count), resolution)


def share_figures(unit: Unit, conditions: str = "", **shares: float | None) -> dict[str, Measurement]:
    """Figures in 0..1 by name, accuracies in their ``unit``; those that are None are left out."""
    return {
        name: Measurement(share, "share" if name == "agreement" else unit, conditions=conditions)
        for name, share in shares.items()
        if share is not None
    }
