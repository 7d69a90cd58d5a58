"""A teacher from what the user names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.language_task import LanguageTask
from evaluators.tasks.question_task import QuestionTask
from evaluators.tasks.task import Task
from evaluators.tasks.text_task import TextTask
from evaluators.tasks.vector_task import VectorTask
from evaluators.tasks.waveform_task import WaveformTask
from evaluators.teachers.answers import load_answer_teacher
from evaluators.teachers.given import as_given
from evaluators.teachers.language import load_language_teacher
from evaluators.teachers.onnx_teacher import OnnxTeacher
from evaluators.teachers.pretrained import load_pretrained
from evaluators.teachers.program import Program
from evaluators.teachers.speech import load_speech_teacher
from evaluators.teachers.teacher import ModuleTeacher, Teacher, hash_files, hash_weights
from evaluators.teachers.text import load_text_teacher
from evaluators.teachers.weights import build_network, load_weights
from spaces.batch import mapped
from understudy import TeacherError

WEIGHTS = (".safetensors", ".pt", ".pth", ".bin")
"""Endings of files that hold weights only, so that code must build their network."""


def load_teacher(spec: str, model: str | None, task: Task) -> Teacher:
    """The teacher that ``spec`` names, tried on two images of the task.

    ``spec``: a ``transformers`` model folder or hub id; a ``torch.export`` program (``.pt2``); an ONNX
    file; weights (``.safetensors``, or a state dict in ``.pt``/``.pth``) of the network that ``model``
    (``file.py:function``) builds; or ``file.py:function`` itself, returning a trained network. All but the
    first take images normalised by the task's mean and std. The input size is the one that the file fixes,
    else the task's. For vectors, (N, features), it is any but a folder; for recordings, (N, samples), a folder
    too, of a network that takes the waveform; for texts a program, weights or a function, taking token ids, or a
    folder; for pictures with questions weights or a function, taking both, or the folder of a ViLT. Loading runs
    no code but what ``file.py:function`` names. Raises ``TeacherError`` when the teacher cannot be loaded, takes
    other images, answers with NaN, or has other classes than the task.
    """
    teacher = _open(spec, model, task)
    if task.channels > teacher.channels:
        raise TeacherError(
            f"teacher {spec} takes grey images, but the data are in colour: use grey data, or another"
        )
    _try(teacher, task)
    return teacher


def _open(spec: str, model: str | None, task: Task) -> Teacher:
    path = Path(spec).expanduser()
    if model is not None and path.suffix not in WEIGHTS:
        raise TeacherError(
            f"teacher {spec} is a whole network: leave out --teacher-model, or name its weights file"
        )
    if ".py:" in spec:
        return _as_built(build_network(spec), spec, task)
    if path.suffix not in (".onnx", ".pt2", *WEIGHTS):
        if isinstance(task, LanguageTask):
            return load_language_teacher(spec, task)
        if isinstance(task, TextTask):
            return load_text_teacher(spec, task)
        if isinstance(task, QuestionTask):
            return load_answer_teacher(spec, task)
        if isinstance(task, WaveformTask):
            return load_speech_teacher(spec, task)
        module, resolution = load_pretrained(spec, _images(spec, task))
        channels, fingerprint = len(module.mean.flatten()), hash_weights(module)
        return _teacher(module, path.name, task, channels, resolution, fingerprint)
    if not path.is_file():
        raise TeacherError(f"there is no teacher file {path}: check the path")
    if path.suffix == ".onnx":
        return OnnxTeacher(path, task if isinstance(task, VectorTask) else _images(spec, task))
    if path.suffix == ".pt2" and task.several:
        raise TeacherError(
            f"{path} takes one tensor, and questions about pictures are two: name weights with --teacher-model, "
            "file.py:function, or a transformers folder"
        )
    if path.suffix == ".pt2":
        return _open_program(path, task)
    if model is None:
        raise TeacherError(f"{path} holds weights only: name the code that builds its network (--teacher-model)")
    network = build_network(model)
    load_weights(network, path)
    return _as_built(network, path.name, task)


def _images(spec: str, task: Task) -> ImageTask:
    if isinstance(task, ImageTask):
        return task
    raise TeacherError(
        f"{spec} cannot teach {task.kind}: name a torch.export program (.pt2), weights with --teacher-model, or "
        "file.py:function"
    )


def _open_program(path: Path, task: Task) -> Teacher:
    program = Program(path)
    if not isinstance(task, ImageTask):
        return _as_task(program, path.name, task, task.channels, task.image_size, hash_files([path]))
    if len(program.input_shape) != 4:
        raise TeacherError(f"{path} takes {program.input_shape}, but a teacher takes (N, C, H, W): export it so")
    _, channels, height, width = program.input_shape
    if height != width:
        raise TeacherError(f"{path} takes images of {height}x{width}, but students take squares: export it so")
    fingerprint = hash_files([path])
    return _as_task(program, path.name, task, channels or task.channels, height or task.image_size, fingerprint)


def _as_built(network: nn.Module, name: str, task: Task) -> Teacher:
    return _as_task(network, name, task, _input_channels(network, task), task.image_size, hash_weights(network))


def _as_task(
    network: nn.Module, name: str, task: Task, channels: int, resolution: int, fingerprint: str
) -> Teacher:
    """A teacher whose network takes what the task's students take."""
    return _teacher(as_given(network, task, channels), name, task, channels, resolution, fingerprint)


def _teacher(
    module: nn.Module, name: str, task: Task, channels: int, resolution: int, fingerprint: str
) -> Teacher:
    return ModuleTeacher(
        module,
        name=name,
        classes=task.classes,
        channels=channels,
        resolution=resolution,
        fingerprint=fingerprint,
    )


def _input_channels(network: nn.Module, task: Task) -> int:
    """Channels that the network's first convolution takes; those of the task where it has none."""
    first = next((layer.in_channels for layer in network.modules() if isinstance(layer, nn.Conv2d)), None)
    return first if isinstance(task, (ImageTask, QuestionTask)) and first in (1, 3) else task.channels


def _meaning(task: Task) -> str:
    """What answers to each token or place are, in words."""
    if task.tokens:
        return "of what comes after each token"
    if len(task.map_sides) == 1:
        return "by class on a quarter of the image's size"
    sides = ", ".join(f"{side} x {side}" for side in task.map_sides)
    return f"by class, sides and quality at the places of maps of {sides}, one after the other"


def _try(teacher: Teacher, task: Task) -> None:
    """Ask the teacher about two images, scaled to its size; raises ``TeacherError`` when it does not fit."""
    size = (teacher.resolution, teacher.resolution)

    def scaled(part: Tensor) -> Tensor:
        return functional.interpolate(part, size, mode="bilinear") if part.ndim == 4 else part

    images = mapped(scaled, task.images("train", np.arange(2), task.image_size))
    shape = tuple(teacher.logits(images).shape)
    if task.dense and shape != (2, *task.answer_shape):
        raise TeacherError(
            f"teacher {teacher.name} answers two samples with {shape}, but with these data it must be "
            f"{(2, *task.answer_shape)}: logits " + _meaning(task)
        )
    if task.dense:
        return
    if len(shape) != 2 or shape[0] != 2:
        raise TeacherError(
            f"teacher {teacher.name} answers two images with {shape}, not (2, classes): is it a classifier?"
        )
    if shape[1] != task.classes:
        raise TeacherError(
            f"teacher {teacher.name} knows {shape[1]} classes, but the data have {task.classes}: "
            "use a teacher trained for these classes"
        )
