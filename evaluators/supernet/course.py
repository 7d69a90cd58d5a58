"""A supernet taught from beginning to end, or from where an earlier training was cut off."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from evaluators.distill.schedule import Optimiser, Schedule, final_schedule
from evaluators.distill.stretch import Stretch
from evaluators.supernet.crew import Crew
from evaluators.supernet.kept import TRAINING, write_supernet
from evaluators.supernet.lesson import Lesson
from evaluators.supernet.training import SupernetTraining
from spaces.space import Space
from spaces.supernet import Supernet

TUNING = 0.25
"""The learning rate of a short training, as a share of that from scratch, which would undo what is inherited."""


def supernet_schedule(samples: int, epochs: int | None = None, optimiser: Optimiser = "sgd") -> Schedule:
    """The training of a supernet on so many images: as long as that of one finalist, four networks a step."""
    return final_schedule(samples, epochs, optimiser)


def tuned(schedule: Schedule) -> Schedule:
    """The training of a candidate from inherited weights instead of that from scratch: a third of its epochs."""
    return replace(
        schedule, epochs=max(1, round(schedule.epochs / 3)), learning_rate=TUNING * schedule.learning_rate
    )


def teach_supernet(
    space: Space, lesson: Lesson, folder: Path, crew: Crew, on_step: Callable[[int, int], None] | None = None
) -> float:
    """Teach the supernet of a space and keep it in ``folder``; the seconds that all its epochs took.

    Where it stands is kept now and then, and a training that was cut off goes on from there to the same weights.
    All of a crew call this; the first writes. ``on_step`` is told steps done and in all.
    Raises ``SpaceError`` for a space that has no supernet, else as ``SupernetTraining`` and ``RunError``.
    """
    torch.manual_seed(lesson.seed)
    supernet, epochs = Supernet.untrained(space, lesson.device), lesson.schedule.epochs
    teacher = lesson.outputs and lesson.outputs.folder.name
    named = f"{space.name} {dict(space.domain)} {lesson.task.fingerprint} {teacher} {lesson.distiller} "
    named += f"{lesson.schedule} {lesson.seed}"
    stretch = Stretch(epochs, folder / TRAINING, named)
    with SupernetTraining(supernet, lesson, crew) as training:
        done, seconds = 0, 0.0
        if (before := stretch.load()) is not None:
            training.put_back(before["training"])
            done, seconds = before["epochs"], before["seconds"]
        for epoch in range(done, epochs):
            began = time.perf_counter()
            training.epoch(epoch, on_step and _counted(on_step, epoch, epochs))
            seconds += time.perf_counter() - began
            if crew.rank == 0 and stretch.is_due(epoch + 1):
                stretch.keep({"training": training.state(), "epochs": epoch + 1, "seconds": seconds})
    if crew.rank == 0:
        write_supernet(folder, supernet)
    return seconds


def _counted(on_step: Callable[[int, int], None], epoch: int, epochs: int) -> Callable[[int, int], None]:
    """Steps of one epoch as steps of all."""
    return lambda done, steps: on_step(epoch * steps + done, epochs * steps)
