"""Students of speech, from the waveform on: compiled and as ONNX they say what torch says."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluators.compile.compiler import compile_network
from evaluators.onnx_twin import check_onnx, export_onnx
from hw_profiles.profile import load_profile
from results.bundle.runner import CompiledStudent
from spaces.catalogue import load_space
from spaces.choice import Choice
from spaces.space import VECTOR, random_choice

SAMPLES, RATE = 1600, 4000


@pytest.mark.parametrize("overlap", [0, 25, 50])
def test_compiled_and_onnx_students_agree_with_torch(overlap: int, tmp_path: Path) -> None:
    space = load_space("speech", channels=SAMPLES, image_size=VECTOR, classes=3, sample_rate=RATE)
    choice = Choice({**random_choice(space, random.Random(overlap)), "overlap": overlap})
    torch.manual_seed(0)
    network = space.build(choice)
    waveforms = torch.randn(8, SAMPLES).clip(-3, 3) / 10
    network(waveforms)
    network.eval()
    profile = load_profile("x86-host").with_threads(1)
    compiled = compile_network(network, waveforms[:1], profile, tmp_path / "student.so")
    student = CompiledStudent(compiled.library, 1)
    for waveform in (waveforms[:1], torch.zeros(1, SAMPLES)):
        with torch.no_grad():
            expected = network(waveform).numpy()
        assert np.abs(student(waveform.numpy()) - expected).max() < 1e-4
    export_onnx(network, waveforms[:1], tmp_path / "student.onnx")
    assert check_onnx(tmp_path / "student.onnx", network, waveforms) < 1e-4
