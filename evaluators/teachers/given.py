"""A network of students' inputs as a teacher takes them."""

from __future__ import annotations

from torch import nn

from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.task import Task
from evaluators.teachers.answers import NormalisedPictures
from evaluators.teachers.teacher import Normalised


def as_given(network: nn.Module, task: Task, channels: int | None = None) -> nn.Module:
    """A network that takes what the task's students take as one that takes ``Task.images``.

    ``channels`` are those of images that it takes, where they are others than the task's.
    """
    if task.tokens:
        return network
    widen = channels or 1 if task.channels == 1 else 1
    mean, std = list(task.mean) * widen, list(task.std) * widen
    if task.several:
        return NormalisedPictures(network, mean, std)
    return Normalised(network, mean, std, vectors=not isinstance(task, ImageTask))
