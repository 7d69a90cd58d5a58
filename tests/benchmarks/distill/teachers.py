"""The teachers: networks of two families, each trained on all training images once and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from safetensors.torch import load_file, save_file
from torch import nn

from evaluators.distill.methods.response import HardLabels
from evaluators.distill.steps import EpochFigures
from evaluators.distill.trainer import seeded, train_student
from evaluators.tasks.image_task import ImageTask
from evaluators.teachers.builtin import teacher_schedule
from evaluators.teachers.residual import ResidualNet
from evaluators.teachers.teacher import ModuleTeacher, Normalised, Teacher
from spaces.catalogue import load_space
from spaces.choice import Choice, Value


def _residual(task: ImageTask, width: int) -> nn.Module:
    return ResidualNet(task.channels, task.classes, task.image_size, width)


def _mobile(task: ImageTask, width: int) -> nn.Module:
    """The mobile space's network that is widest everywhere; ``width`` is its number of blocks a stage."""
    space = load_space("mobile", channels=task.channels, image_size=task.image_size, classes=task.classes)
    choice: dict[str, Value] = {name: values[-1] for name, values in space.domain.items()}
    for name, values in space.domain.items():
        if name.endswith("depth"):
            choice[name] = min(width, int(values[-1]))
        if name.endswith("kernel"):
            choice[name] = values[0]
    return space.build(Choice(choice))


FAMILIES: Mapping[str, Callable[[ImageTask, int], nn.Module]] = MappingProxyType(
    {"residual": _residual, "mobile": _mobile}
)


def trained_teacher(
    name: str, task: ImageTask, cache: Path, epochs: int | None, tell: Callable[[str], None]
) -> Teacher:
    """The teacher ``FAMILY-SIZE``: ``residual-32`` has 32 channels at first, ``mobile-2`` 2 blocks a stage.

    Trained alone on the task's training images unless ``cache`` holds it.
    """
    family, _, size = name.partition("-")
    with seeded(0):
        network = FAMILIES[family](task, int(size))
    schedule = teacher_schedule(task.size("train"), epochs)
    key = hashlib.sha256(f"{task.fingerprint}\n{network}\n{schedule}".encode()).hexdigest()[:16]
    file = cache / "bench-teachers" / f"{name}-{key}.safetensors"

    def report(figures: EpochFigures) -> None:
        score = "" if figures.val_accuracy is None else f", validation {100 * figures.val_accuracy:.2f} %"
        tell(f"teacher {name}: epoch {figures.epoch} of {figures.epochs}, {figures.seconds:.0f} s{score}")

    if file.exists():
        network.load_state_dict(load_file(file))
    else:
        train_student(
            network,
            task,
            resolution=task.image_size,
            distiller=HardLabels(),
            teacher_outputs=None,
            schedule=schedule,
            seed=0,
            on_epoch=report,
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(network.state_dict(), file)
    return ModuleTeacher(
        Normalised(network.eval(), task.mean, task.std),
        name=name,
        classes=task.classes,
        channels=task.channels,
        resolution=task.image_size,
        fingerprint=f"{name}-{key}",
    )
