"""Running and timing compiled students on this computer."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from evaluators.compile.compiler import compile_network
from evaluators.latency.against import Comparison
from evaluators.latency.host import HostDevice
from evaluators.latency.quiet import QuietCores
from hw_profiles.profile import Profile, load_profile
from results.measurement import Measurement, noise_floor
from understudy import MeasureError


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("x86-host").with_threads(1)


def linear(scale: float) -> nn.Module:
    layer = nn.Linear(4, 4)
    nn.init.eye_(layer.weight)
    layer.weight.data *= scale
    nn.init.zeros_(layer.bias)
    return nn.Sequential(nn.Flatten(), layer)


def test_measures_in_seconds_with_spread(profile: Profile, tmp_path: Path) -> None:
    x = torch.randn(1, 1, 2, 2)
    library = compile_network(linear(1), x, profile, tmp_path / "student.so").library
    latency = HostDevice(profile, QuietCores(tmp_path / "gate"), limit_s=0.2).measure(library, x.numpy())
    assert latency.unit == "s"
    assert latency.source == "measured"
    assert 1e-7 < latency.value < 1e-2
    assert latency.low is not None
    assert latency.high is not None
    assert latency.low <= latency.value <= latency.high
    assert latency.repeats >= 3


def test_a_library_written_over_is_not_confused_with_the_old_one(profile: Profile, tmp_path: Path) -> None:
    x, device = torch.ones(1, 1, 2, 2), HostDevice(profile)
    for scale in (1.0, 3.0):
        library = compile_network(linear(scale), x, profile, tmp_path / "student.so").library
        assert device.run(library, x.numpy()).tolist() == [[scale] * 4]
    assert [path.name for path in tmp_path.iterdir()] == ["student.so"]


def test_a_wrong_input_a_missing_and_a_broken_library_are_named(profile: Profile, tmp_path: Path) -> None:
    x, device = torch.ones(1, 1, 2, 2), HostDevice(profile)
    library = compile_network(linear(1), x, profile, tmp_path / "student.so").library
    with pytest.raises(MeasureError, match=r"refused an input of shape \(1, 1, 3, 3\)"):
        device.run(library, torch.ones(1, 1, 3, 3).numpy())
    with pytest.raises(MeasureError, match=r"no compiled library .*other\.so"):
        device.run(tmp_path / "other.so", x.numpy())
    (tmp_path / "broken.so").write_bytes(b"no library")
    with pytest.raises(MeasureError, match=r"cannot be loaded"):
        device.run(tmp_path / "broken.so", x.numpy())


def test_students_of_another_processor_are_not_run_here(profile: Profile) -> None:
    with pytest.raises(MeasureError, match="cannot run here"):
        HostDevice(dataclasses.replace(profile, reach="none"))


def test_the_noise_floor_is_half_the_quartiles_distance() -> None:
    assert noise_floor(Measurement(2.0, "s", low=1.9, high=2.3, repeats=9)) == pytest.approx(0.1)
    assert noise_floor(Measurement(2.0, "s")) == 0


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(0.8, "student is faster"), (1.2, "student is slower"), (0.96, "no difference beyond")]
)
def test_a_comparison_says_what_its_quartiles_allow(ratio: float, verdict: str) -> None:
    assert verdict in str(Comparison(ratio, 1.0, ratio, ratio - 0.05, ratio + 0.05))
