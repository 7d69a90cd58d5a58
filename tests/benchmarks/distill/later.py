"""Teaching without data, and learning later data, on digits: figures of the benchmark's last line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from evaluators.datafree.synthesis import Recipe
from evaluators.datafree.task import blank_task, images_for, synthetic_task
from evaluators.distill.evaluate import predict_logits
from evaluators.distill.methods.response import SoftTargets
from evaluators.distill.schedule import Schedule
from evaluators.distill.teacher_outputs import compute_outputs
from evaluators.distill.trainer import seeded, train_student
from evaluators.lifelong.growth import grow
from evaluators.lifelong.joined import Input
from evaluators.lifelong.labels import join_classes
from evaluators.lifelong.learn import Kept, make_lesson, teach
from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.images import ArrayImages
from evaluators.tasks.load import digits, load_task
from evaluators.tasks.prepare import create_task
from evaluators.teachers.builtin import builtin_teacher
from evaluators.teachers.teacher import Teacher
from spaces.catalogue import load_space
from spaces.choice import Choice
from spaces.space import Space
from tests.benchmarks.distill.setting import middle_choice

Tell = Callable[[str], None]
SCHEDULE = Schedule(30, views=8)
REPLAY = 200
PICTURES = 8
"""Pixels a side of the digits as they come, which a user would know of the pictures that are to be classified."""


def datafree_gap(cache: Path, tell: Tell, seeds: int = 3) -> float:
    """Points of test accuracy that a middle student loses when its images are made: the mean of seeds.

    The same student in as many steps as with data, taught by soft targets both times.
    """
    return _datafree_gap("middle", middle_choice, cache, tell, seeds)


def smallest_datafree_gap(cache: Path, tell: Tell, seeds: int = 3) -> float:
    """The same of the smallest student, which takes images of half the side."""
    return _datafree_gap("smallest", lambda space: space.smallest(), cache, tell, seeds)


def _datafree_gap(name: str, choose: Callable[[Space], Choice], cache: Path, tell: Tell, seeds: int) -> float:
    task = _images(load_task("digits", cache=cache, seed=0))
    teacher = builtin_teacher(task, cache=cache, seed=0)
    shape = blank_task(task.classes, task.channels, task.image_size, task.mean, task.std)
    count = images_for(task.classes)
    made = synthetic_task(teacher, shape, Recipe.of("generator"), count, side=PICTURES, cache=cache, seed=0)
    epochs = max(1, round(SCHEDULE.epochs * task.size("train") / made.size("train")))
    choice, gaps = choose(_space(task)), []
    for seed in range(seeds):
        with_data = _score(_taught(task, teacher, choice, SCHEDULE, seed, cache), task, choice)
        shorter = replace(SCHEDULE, epochs=epochs)
        without = _score(_taught(made, teacher, choice, shorter, seed, cache), task, choice)
        gaps.append(100 * (with_data - without))
        tell(
            f"digits without data, {name} student, seed {seed}: {100 * without:.2f} % ({100 * with_data:.2f} with)"
        )
    return float(np.mean(gaps))


def forget(cache: Path, tell: Tell, seeds: int = 3) -> float:
    """Points of test accuracy on digits 0 to 4 lost by learning 5 to 9 with 200 stored images: mean of seeds."""
    earlier, later = (_part(range(low, low + 5), cache) for low in (0, 5))
    teacher = builtin_teacher(earlier, cache=cache, seed=0)
    lost = []
    for seed in range(seeds):
        former = _taught(earlier, teacher, _space(earlier).smallest(), SCHEDULE, seed, cache)
        kept = _learn(former, earlier, later, seed, cache)
        assert kept.forgotten is not None
        lost.append(100 * kept.forgotten)
        shares = (kept.earlier_before or 0, kept.earlier_after or 0, kept.later_after)
        before, after, new = (f"{100 * share:.2f} %" for share in shares)
        tell(f"digits 5-9 after 0-4, {REPLAY} images replayed, seed {seed}: {before} become {after}; new: {new}")
    return float(np.mean(lost))


def _learn(former: nn.Module, earlier: ImageTask, later: ImageTask, seed: int, cache: Path) -> Kept:
    size = _space(earlier).resolution(_space(earlier).smallest())
    like = Input(earlier.channels, earlier.image_size, size, earlier.mean, earlier.std, earlier.augment)
    classes = join_classes(earlier.labels, later.labels)
    lesson = make_lesson(former, later, classes, like, earlier=earlier, count=REPLAY, seed=seed, cache=cache)
    space = _space(lesson.task)
    with seeded(seed):
        network = space.build(space.smallest())
    grow(network, former.state_dict(), classes.known, len(classes.labels))
    teach(lesson, network, seed=seed, cache=cache)
    return lesson.kept(network)


def _taught(
    task: ImageTask, teacher: Teacher, choice: Choice, schedule: Schedule, seed: int, cache: Path
) -> nn.Module:
    space = _space(task)
    outputs = compute_outputs(teacher, task, views=schedule.views, cache=cache)
    with seeded(seed):
        network = space.build(choice)
    train_student(
        network,
        task,
        resolution=space.resolution(choice),
        distiller=SoftTargets(),
        teacher_outputs=outputs,
        schedule=schedule,
        seed=seed,
    )
    return network


def _score(network: nn.Module, task: ImageTask, choice: Choice) -> float:
    logits = predict_logits(network, task, "test", _space(task).resolution(choice))
    return task.score(logits, task.targets("test"))


def _space(task: ImageTask) -> Space:
    return load_space("mobile", channels=task.channels, image_size=task.image_size, classes=task.classes)


def _part(labels: range, cache: Path) -> ImageTask:
    """The digits of some classes as a task of their own."""
    samples = digits()
    rows = np.flatnonzero(np.isin(samples.targets, labels))
    pictures = np.stack([samples.images.read(int(row), 1) for row in rows])
    some = replace(
        samples,
        images=ArrayImages(pictures),
        targets=samples.targets[rows] - labels.start,
        labels=samples.labels[labels.start : labels.stop],
    )
    return create_task(some, cache=cache, seed=0)


def _images(task: object) -> ImageTask:
    assert isinstance(task, ImageTask)
    return task
