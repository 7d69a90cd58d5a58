from __future__ import annotations

import json

import pytest
import torch
from distiller_contract import scratch_folder

from evaluators.distill.evaluate import accuracy
from evaluators.distill.schedule import final_schedule
from evaluators.tasks.load import load_task
from evaluators.teachers.builtin import builtin_teacher, teacher_schedule


def digits():
    return load_task("digits", cache=scratch_folder(), seed=0, image_size=8)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    heard = []
    teacher = builtin_teacher(digits(), cache=cache, seed=0, epochs=3, progress=lambda *now: heard.append(now))
    return cache, teacher, heard


def test_it_learns_the_task_from_images_in_0_to_1(made):
    _, teacher, heard = made
    task = digits()
    images = task.images("test", range(task.size("test")), teacher.resolution)
    assert accuracy(teacher.logits(images), task.targets("test")) > 0.85
    assert heard == [(1, 3), (2, 3), (3, 3)]
    assert (teacher.classes, teacher.channels, teacher.resolution) == (10, 1, 8)


def test_it_is_kept_and_comes_back_the_same(made):
    cache, teacher, _ = made
    heard = []
    again = builtin_teacher(digits(), cache=cache, seed=0, epochs=3, progress=lambda *now: heard.append(now))
    images = digits().images("val", range(20), 8)
    assert not heard
    assert torch.equal(again.logits(images), teacher.logits(images))
    assert again.fingerprint == teacher.fingerprint
    facts = json.loads(next((cache / "teachers").glob("*.json")).read_text())
    assert facts["parameters"] > 1_000_000
    assert 0.8 < facts["val_accuracy"] <= 1


def test_other_schedules_have_other_fingerprints(made):
    assert teacher_schedule(1257) != teacher_schedule(1257, 3)
    assert teacher_schedule(1257).epochs > teacher_schedule(50_000).epochs


def test_a_teacher_that_starts_from_nothing_sees_few_images_often():
    assert teacher_schedule(2100).epochs > final_schedule(2100, varied=False).epochs / 2
    assert teacher_schedule(2100, optimiser="adamw").epochs < teacher_schedule(2100).epochs
