"""Students begin as what their teacher knows, where both are decoders; others begin at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from spaces.batch import single
from spaces.language import decoder_of
from spaces.projected import fits, project

if TYPE_CHECKING:
    from evaluators.tasks.task import Task
    from evaluators.teachers.teacher import Teacher

_TOKENS = 4096
"""Of the training text, by which it is seen what of the teacher matters."""


def begin_from_teacher(network: nn.Module, teacher: Teacher, task: Task) -> bool:
    """Give a student of plain text its teacher's weights as far as they fit, in place; False where they do not.

    They do where the teacher is one network of the same form with a table of tokens that is not factorised.
    """
    student = decoder_of(network)
    source = None if teacher.module is None else decoder_of(teacher.module)
    if student is None or source is None or not fits(source, student):
        return False
    windows = min(task.size("train"), max(1, _TOKENS // task.image_size))
    chosen = np.linspace(0, task.size("train") - 1, windows).astype(np.int64)
    project(source.cpu(), student, single(task.batch("train", chosen, task.image_size)))
    return True
