"""Kernels listed with what they compute, and timed against a roofline."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from torch import nn

from evaluators.compile.compiler import lower_kernels
from evaluators.compile.export import export_network, import_program
from evaluators.compile.kernel_times import list_kernels, streaming_bandwidth, time_network
from evaluators.latency.kernels import kernel_lines, measure_roofline, uncovered
from evaluators.onnx_twin import write_twin
from hw_profiles.profile import load_profile
from search.cli.main import group
from search.kernel_table import kernel_table, short_name
from understudy import ConfigError

PROFILE = load_profile("x86-host").with_threads(1)


class Repeating(nn.Module):
    """A pointwise convolution, the same twice more, then columns turned round, which no rule covers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(16, 16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            x = self.layer(x).relu()
        return x.flip(3)


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    return import_program(export_network(Repeating(), (torch.zeros(1, 16, 8, 8),)))


def test_a_kernel_called_twice_is_listed_once_with_its_work(module):
    kernels = list_kernels(*lower_kernels(module, PROFILE))
    (convolution,) = (kernel for kernel in kernels if kernel.calls == 2)  # the first reads the user's layout
    pixels, channels = 64, 16
    assert convolution.rule != "fallback"
    assert convolution.operations == 2 * pixels * channels**2 + 2 * pixels * channels
    assert convolution.bytes == 4 * (2 * pixels * channels + channels**2 + channels)
    assert convolution.shapes[0] == convolution.shapes[-1] == (1, 8, 8, 16)


def test_only_rows_that_are_looked_up_count_as_moved():
    network = nn.Embedding(1000, 16)
    module = import_program(export_network(network, (torch.zeros(1, 5, dtype=torch.int64),)))
    kernels = list_kernels(*lower_kernels(module, PROFILE))
    (lookup,) = (kernel for kernel in kernels if (1000, 16) in kernel.shapes)
    assert lookup.bytes < 1000


def test_kernels_are_timed_and_the_uncovered_named(module):
    times = time_network(module, PROFILE, nullcontext)
    roofline = measure_roofline(PROFILE, lambda size, profile: 1e10)
    lines = kernel_lines(times, roofline)
    assert all(line.seconds > 0 and line.reached > 0 for line in lines)
    assert [line.share for line in lines] == sorted((line.share for line in lines), reverse=True)
    named = uncovered(lines)
    assert any("flip" in name for name in named)
    console = Console(width=200, record=True)
    console.print(kernel_table(times, lines, roofline, PROFILE))
    text = console.export_text()
    assert all(short_name(name) in text for name in named)


def test_kernels_are_listed_as_they_are_built(module):
    times = time_network(module, PROFILE, nullcontext, lambda key, options: options[-1])
    assert 1 <= times.tuned <= 2
    console = Console(width=200, record=True)
    roofline = measure_roofline(PROFILE, lambda size, profile: 1e10)
    console.print(kernel_table(times, kernel_lines(times, roofline), roofline, PROFILE))
    assert f"{times.tuned} of their kinds as tuning found best" in console.export_text()


def test_streaming_moves_bytes():
    assert streaming_bandwidth(16384, PROFILE) > 1e8


def test_the_kernels_of_a_network_file_are_printed(tmp_path):
    path = tmp_path / "network.onnx"
    write_twin(Repeating().eval(), (torch.zeros(1, 16, 8, 8),), path, ["x"], ["y"])
    printed = CliRunner().invoke(group, ["bench", str(path), "--kernels"], catch_exceptions=False).output
    assert "of roofline" in printed
    assert "fallback" in printed
    refused = CliRunner().invoke(group, ["bench", str(path)])
    assert isinstance(refused.exception, ConfigError)
