from __future__ import annotations

import json

import pytest
import torch
from distiller_contract import ConvNet, scratch_folder
from distiller_contract import teacher as arbitrary

from evaluators.distill.teacher_outputs import compute_outputs
from evaluators.tasks.load import load_task
from evaluators.teachers import assistant
from evaluators.teachers.assistant import assistant_schedule, assistant_width, taught_assistant
from evaluators.teachers.named import parse_width
from evaluators.teachers.residual import ResidualNet
from evaluators.teachers.teacher import ModuleTeacher, Normalised
from understudy import ConfigError


def digits():
    return load_task("digits", cache=scratch_folder(), seed=0, image_size=8)


def parameters(network):
    return sum(each.numel() for each in network.parameters())


def residual(width: float) -> ModuleTeacher:
    network = Normalised(ResidualNet(1, 10, 8, round(32 * width / 8) * 8), [0.5], [0.5])
    return ModuleTeacher(network, name="res", classes=10, channels=1, resolution=8, fingerprint=f"res-{width}")


def test_width_scales_the_built_in_network():
    whole = parameters(ResidualNet(3, 10, 32))
    assert 1.1e6 < whole < 1.3e6
    assert parameters(ResidualNet(3, 10, 32, 16)) == pytest.approx(whole / 4, rel=0.02)
    assert str(ResidualNet(3, 10, 32, 32)) == str(ResidualNet(3, 10, 32))


def test_auto_is_half_way_in_parameters_where_the_gap_is_large():
    teacher, student = residual(1.0), ConvNet(1, 16, 10)
    width = assistant_width("auto", teacher, student, digits())
    ratio = parameters(teacher.module) / parameters(ResidualNet(1, 10, 8, round(32 * width / 8) * 8))
    assert ratio == pytest.approx((parameters(teacher.module) / parameters(student)) ** 0.5, rel=0.3)
    assert assistant_width("auto", arbitrary(), student, digits()) is None
    assert assistant_width("0.5", arbitrary(), student, digits()) == 0.5


@pytest.mark.parametrize("text", ["0", "-1", "wide", "nan", "5"])
def test_other_widths_are_refused(text):
    with pytest.raises(ConfigError, match="auto or a width above 0 and at most 4, but got"):
        parse_width(text)


def test_it_learns_from_the_teacher_once_and_is_kept(tmp_path, monkeypatch):
    short = assistant.Schedule(3, batch_size=64, learning_rate=0.1, views=1)
    monkeypatch.setattr(assistant, "assistant_schedule", lambda samples: short)
    teacher = residual(0.25)
    outputs = compute_outputs(teacher, digits(), views=1, cache=tmp_path)
    heard = []
    options = {"width": 0.25, "cache": tmp_path, "seed": 0}
    first = taught_assistant(digits(), teacher, outputs, progress=lambda *now: heard.append(now), **options)
    assert heard == [(1, 3), (2, 3), (3, 3)]
    assert first.name == "assistant-0.25 of res"
    again = taught_assistant(digits(), teacher, outputs, progress=lambda *now: heard.append(now), **options)
    assert len(heard) == 3
    images = digits().images("val", range(40), 8)
    assert torch.equal(first.logits(images), again.logits(images))
    assert first.fingerprint == again.fingerprint
    assert (
        first.fingerprint
        != taught_assistant(digits(), residual(0.5), outputs, **{**options, "seed": 1}).fingerprint
    )
    assert json.loads(next((tmp_path / "teachers").glob("*.json")).read_text())["name"].startswith("assistant")


def test_its_views_are_among_the_stored_ones():
    assert assistant_schedule(1257).views <= 16
