"""An ONNX file as a teacher, run by onnxruntime as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.vector_task import VectorTask
from evaluators.teachers.teacher import Teacher, hash_files, in_batches
from spaces.batch import Batch, single
from understudy import TeacherError


class OnnxTeacher(Teacher):
    """Takes float32 (N, C, R, R), or (N, features) for vectors and recordings, normalised by mean and std.

    These are the task's. The first output holds the logits.
    """

    def __init__(self, path: Path, task: ImageTask | VectorTask) -> None:
        self._session = _open(path)
        inputs = self._session.get_inputs()
        form = "(N, C, H, W)" if isinstance(task, ImageTask) else f"(N, {task.channels})"
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != form.count(",") + 1:
            raise TeacherError(
                f"{path} takes {_asked(inputs)}, but a teacher takes one float32 {form}: export it so"
            )
        self._input = inputs[0].name
        self._output = self._session.get_outputs()[0].name
        self._batch, channels, *sides = (size if isinstance(size, int) else None for size in inputs[0].shape)
        if isinstance(task, ImageTask) and sides[0] != sides[1]:
            raise TeacherError(
                f"{path} takes images of {sides[0]}x{sides[1]}, but students take squares: export it so"
            )
        if not isinstance(task, ImageTask) and channels not in (None, task.channels):
            raise TeacherError(f"{path} takes {_asked(inputs)}, but the data are {form}: export it so")
        beside = path.with_name(path.name + ".data")
        self.name, self.classes = path.name, task.classes
        self.channels, self.resolution = channels or task.channels, (sides and sides[0]) or task.image_size
        self.fingerprint = hash_files([path, beside] if beside.exists() else [path])
        self._normalise = task.normalise

    def _answer(self, images: Batch) -> Tensor:
        taken = self._normalise(single(images))
        wide = taken.expand(-1, self.channels, -1, -1) if taken.ndim == 4 else taken
        return in_batches(self._run, wide, self._batch)

    def _run(self, images: Tensor) -> Tensor:
        (logits,) = self._session.run([self._output], {self._input: np.ascontiguousarray(images.numpy())})
        return torch.from_numpy(logits)


def _asked(inputs: Sequence[Any]) -> str:
    return ", ".join(f"{entry.name} {entry.type} {entry.shape}" for entry in inputs)


def _open(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class but this
        lines = str(error).splitlines() or [type(error).__name__]
        raise TeacherError(f"{path} cannot be run by onnxruntime ({lines[0]}): export it again") from error
