"""Several teachers as one: each answers for itself, and their stored answers are combined once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evaluators.distill.teacher_outputs import (
    Progress,
    Report,
    TeacherOutputs,
    compute_outputs,
    fill_outputs,
    outputs_folder,
)
from evaluators.tasks.task import Split, Task
from evaluators.teachers.combine import combined
from evaluators.teachers.teacher import Teacher, resized
from spaces.batch import Batch, single
from understudy import TeacherError


class Ensemble(Teacher):
    """Several teachers of the same classes, each with its weight, under a rule of ``combine.RULES``.

    Raises ``TeacherError`` when their numbers of classes differ. It has no layers of its own.
    """

    def __init__(self, members: Sequence[Teacher], weights: Sequence[float], rule: str) -> None:
        first = members[0]
        for other in members[1:]:
            if other.classes != first.classes:
                raise TeacherError(
                    f"teacher {other.name} knows {other.classes} classes, but teacher {first.name} "
                    f"{first.classes}: use teachers of the same classes"
                )
        self.members, self.weights, self.rule = tuple(members), tuple(weights), rule
        self.name = " + ".join(member.name for member in members)
        self.classes, self.channels = first.classes, max(member.channels for member in members)
        self.resolution = max(member.resolution for member in members)
        parts = [rule, *(f"{m.fingerprint} {w:g}" for m, w in zip(members, weights, strict=True))]
        self.fingerprint = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def _answer(self, images: Batch) -> Tensor:
        answers = [member.logits(resized(single(images), member.resolution)) for member in self.members]
        return combined(self.rule, answers, self.weights, None)


def ensemble_outputs(
    ensemble: Ensemble, task: Task, *, views: int, cache: Path, progress: Progress | None = None
) -> TeacherOutputs:
    """The combined outputs, computing those of the members that ``cache`` lacks; as ``compute_outputs``.

    Each member sees the images at its own resolution. The rule knows the classes of the training images, as
    students do, and never those of the images that students are judged on.
    """
    stored = [
        compute_outputs(member, task, views=views, cache=cache, progress=_part(progress, number, ensemble))
        for number, member in enumerate(ensemble.members)
    ]

    def answer(split: Split, view: int, report: Report) -> np.ndarray:
        logits = [torch.from_numpy(np.array(outputs.logits(split, view))) for outputs in stored]
        targets = torch.from_numpy(np.array(task.targets(split))) if split == "train" else None
        return combined(ensemble.rule, logits, ensemble.weights, targets).numpy()

    return fill_outputs(outputs_folder(ensemble, task, cache), task, views, answer)


def _part(progress: Progress | None, number: int, ensemble: Ensemble) -> Progress | None:
    """The progress of one member as that of all of them."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, len(ensemble.members) * total)
