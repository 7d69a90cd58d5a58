"""The built-in teacher, for a user who names none: trained on the task once and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from evaluators.distill.schedule import MANY, Optimiser, Schedule
from evaluators.distill.trainer import seeded
from evaluators.tasks.detection_task import DetectionTask
from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.language_task import LanguageTask
from evaluators.tasks.question_task import QuestionTask
from evaluators.tasks.segmentation_task import SegmentationTask
from evaluators.tasks.task import Task
from evaluators.tasks.text_task import TextTask
from evaluators.tasks.waveform_task import WaveformTask
from evaluators.teachers.answers import AnswerNet, question_schedule
from evaluators.teachers.detector import DetectorNet, detector_schedule
from evaluators.teachers.given import as_given
from evaluators.teachers.kept import trained_alone, trained_once
from evaluators.teachers.language import language_schedule, small_gpt
from evaluators.teachers.residual import ResidualNet
from evaluators.teachers.segmenter import SegmenterNet
from evaluators.teachers.teacher import ModuleTeacher, Teacher
from evaluators.teachers.text import small_bert
from spaces.log_mel import LogMel

NAME, OF_VECTORS, OF_SPEECH = "builtin-residual", "builtin-perceptron", "builtin-residual-log-mel"
OF_TEXTS, OF_MASKS, OF_BOXES = "builtin-bert", "builtin-segmenter", "builtin-detector"
OF_LANGUAGE = "builtin-gpt"
OF_QUESTIONS = "builtin-residual-bert"
WIDTH = 512
"""Of the hidden layers of a teacher of vectors."""
BANDS, OVERLAP = 40, 50
"""Of the log-mel features of a teacher of spoken words."""
_LENGTH: Mapping[Optimiser, tuple[int, int]] = {"sgd": (60, 64_000), "adamw": (40, 32_000)}
"""The most epochs of a training by default (8 are the fewest), and how many samples it sees. A teacher that has
seen half as many images knows no more than a student alone; transformers soon know few texts by heart. Under a
minute of two cores for 16-pixel digits."""
_PACE: dict[Optimiser, tuple[float, float]] = {"sgd": (0.1, 5e-4), "adamw": (5e-4, 0.01)}
"""Learning rate and weight decay."""


def builtin_teacher(
    task: Task,
    *,
    cache: Path,
    seed: int,
    epochs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    device: str = "cpu",
) -> Teacher:
    """The built-in teacher of a task, trained on its training split unless ``cache`` holds it already.

    It is kept as ``cache/teachers/<key>.safetensors`` and ``.json`` (its figures), keyed by task,
    architecture, schedule and seed; a kill costs half a minute of the training at most. ``progress`` is told
    epochs done and epochs in all. Raises ``TrainError`` when the training diverges, ``RunError`` when the
    cache cannot be written.
    """
    schedule = _schedule(task, epochs)
    with seeded(seed):
        network = _network(task)
    kinds = (
        (SegmentationTask, OF_MASKS),
        (DetectionTask, OF_BOXES),
        (ImageTask, NAME),
        (WaveformTask, OF_SPEECH),
        (TextTask, OF_TEXTS),
        (LanguageTask, OF_LANGUAGE),
        (QuestionTask, OF_QUESTIONS),
    )
    name = next((each for kind, each in kinds if isinstance(task, kind)), OF_VECTORS)
    parts = (task.fingerprint, str(task.augment), str(network), str(schedule), str(seed))
    key = trained_once(
        network,
        parts,
        cache,
        lambda unfinished: (
            {"name": name} | trained_alone(network, task, schedule, seed, unfinished, progress, device)
        ),
    )
    return ModuleTeacher(
        as_given(network.eval(), task),
        name=name,
        classes=task.classes,
        channels=task.channels,
        resolution=task.image_size,
        fingerprint=f"{name}-{key}",
    )


def _schedule(task: Task, epochs: int | None) -> Schedule:
    if isinstance(task, LanguageTask):
        return language_schedule(task, epochs)
    if isinstance(task, QuestionTask):
        return question_schedule(task.size("train"), epochs)
    if isinstance(task, DetectionTask):
        return detector_schedule(task.size("train"), epochs)
    return teacher_schedule(task.size("train"), epochs, task.optimiser, task.dense)


def teacher_schedule(
    samples: int, epochs: int | None = None, optimiser: Optimiser = "sgd", dense: bool = False
) -> Schedule:
    """The training of the built-in teacher on ``samples`` images; ``epochs`` overrules its length.

    Where answers are maps (``dense``) it sees few, in smaller batches.
    """
    most, images = (60, 8_000) if dense else _LENGTH[optimiser]
    small = 16 if dense else 64
    length = min(most, max(8, round(images / samples))) if epochs is None else epochs
    rate, decay = _PACE[optimiser]
    size = small if samples < MANY else 128
    return Schedule(length, size, rate, decay, views=length, optimiser=optimiser)


def _network(task: Task) -> nn.Module:
    """The untrained teacher: residual for images, maps and log-mel features, BERT or GPT of texts; else MLP."""
    if isinstance(task, LanguageTask):
        return small_gpt(task)
    if isinstance(task, DetectionTask):
        return DetectorNet(task.channels, task.map_channels, task.image_size)
    if task.dense:
        return SegmenterNet(task.channels, task.answer_shape[0], task.image_size)
    if isinstance(task, ImageTask):
        return ResidualNet(task.channels, task.classes, task.image_size)
    if isinstance(task, TextTask):
        return small_bert(task)
    if isinstance(task, QuestionTask):
        return AnswerNet(task)
    if isinstance(task, WaveformTask):
        features = LogMel(task.channels, task.sample_rate, BANDS, OVERLAP)  # halved twice: learnt in a minute
        return nn.Sequential(features, ResidualNet(1, task.classes, 2 * max(features.frames, BANDS)))
    layers: list[nn.Module] = []
    for inputs in (task.channels, WIDTH):
        layers += [nn.Linear(inputs, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU(), nn.Dropout(0.2)]
    return nn.Sequential(*layers, nn.Linear(WIDTH, task.classes))
