"""What must hold for every task whose answers are maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from evaluators.distill.catalogue import load_distiller
from evaluators.distill.schedule import Schedule
from evaluators.distill.teacher_outputs import compute_outputs
from evaluators.distill.trainer import train_student
from evaluators.examples import write_examples
from evaluators.tasks.map_task import MapTask
from evaluators.teachers.builtin import builtin_teacher
from spaces.space import Space


def a_student_learns_from_the_builtin_teacher(task: MapTask, space: Space, method: str, folder: Path) -> None:
    """The loss falls, shares are shares, and what both answer can be shown."""
    teacher = builtin_teacher(task, cache=task.folder.parent, seed=0, epochs=6)
    outputs = compute_outputs(teacher, task, views=0, cache=task.folder.parent)
    assert outputs.logits("val").shape == (task.size("val"), *task.answer_shape)
    torch.manual_seed(0)
    taught = train_student(
        space.build(space.smallest()),
        task,
        resolution=space.resolution(space.smallest()),
        distiller=load_distiller(method),
        teacher_outputs=outputs,
        schedule=Schedule(8, batch_size=4, views=0),
        seed=0,
        teacher=teacher,
        reference=outputs,
    )
    assert taught.history[-1].loss < taught.history[0].loss
    assert 0 <= taught.val_accuracy <= 1
    assert 0 <= taught.agreement <= 1
    logits = torch.from_numpy(np.array(outputs.logits("test")))
    write_examples(task, logits, outputs.logits("test"), folder / "examples.png")
    assert np.asarray(Image.open(folder / "examples.png")).shape[2] == 3
