"""The device behind Ray: a student that kills the process that runs it costs that student alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from torch import nn

from evaluators.compile.compiler import compile_network
from hw_profiles.profile import load_profile
from search.config import SearchConfig
from search.device_actor import RemoteDevice, start_devices
from search.plan import Plan
from search.ray_session import ray_session
from understudy import MeasureError


def test_a_crashing_student_is_an_error_and_the_next_one_is_measured(tmp_path: Path):
    profile = load_profile("x86-host")
    x = torch.zeros(1, 1, 8, 8)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()).eval()
    good = compile_network(network, x, profile, tmp_path / "good.so").library
    source = tmp_path / "bad.c"
    source.write_text("#include <stdlib.h>\n__attribute__((constructor)) static void crash(void) { abort(); }\n")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "bad.so", source], check=True)
    plan = Plan(SearchConfig(), tmp_path, tmp_path, tmp_path, (profile,), 0, tmp_path / "quiet.lock", tmp_path)
    with ray_session(None, 1):
        (device,) = start_devices(plan)
        before = device.run(good, x.numpy())
        with pytest.raises(MeasureError, match="crashed the process that ran it"):
            device.run(tmp_path / "bad.so", x.numpy())
        np.testing.assert_array_equal(device.run(good, x.numpy()), before)
        assert device.measure(good, x.numpy()).value > 0
        with pytest.raises(MeasureError, match="missing"):
            device.run(tmp_path / "missing.so", x.numpy())

        class Broken:
            def __init__(self) -> None:
                raise ValueError("no such device")

            def run(self, library: Path, inputs: np.ndarray, program: str) -> None:
                """Never called."""

        broken = RemoteDevice(ray.remote(Broken).remote(), tmp_path / "lease")
        with pytest.raises(MeasureError, match="cannot start: ValueError: no such device"):
            broken.run(good, x.numpy())
