"""An ONNX file as a teacher, run by onnxruntime as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluators.tasks.image_task import ImageTask
from evaluators.teachers.teacher import Teacher, hash_files, in_batches
from understudy import TeacherError


class OnnxTeacher(Teacher):
    """Takes float32 (N, C, R, R) normalised by the task's mean and std; the first output holds the logits."""

    def __init__(self, path: Path, task: ImageTask) -> None:
        self._session = _open(path)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
            asked = ", ".join(f"{entry.name} {entry.type} {entry.shape}" for entry in inputs)
            raise TeacherError(f"{path} takes {asked}, but a teacher takes one float32 (N, C, H, W): export it so")
        self._input = inputs[0].name
        self._output = self._session.get_outputs()[0].name
        sizes = [size if isinstance(size, int) else None for size in inputs[0].shape]
        self._batch, channels, height, width = sizes
        if height != width:
            raise TeacherError(f"{path} takes images of {height}x{width}, but students take squares: export it so")
        beside = path.with_name(path.name + ".data")
        self.name, self.classes = path.name, task.classes
        self.channels, self.resolution = channels or task.channels, height or task.image_size
        self.fingerprint = hash_files([path, beside] if beside.exists() else [path])
        self._normalise = task.normalise

    def _answer(self, images: Tensor) -> Tensor:
        wide = self._normalise(images).expand(-1, self.channels, -1, -1)
        return in_batches(self._run, wide, self._batch)

    def _run(self, images: Tensor) -> Tensor:
        (logits,) = self._session.run([self._output], {self._input: np.ascontiguousarray(images.numpy())})
        return torch.from_numpy(logits)


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
