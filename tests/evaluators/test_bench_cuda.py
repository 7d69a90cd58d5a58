"""The benchmark on a GPU, as far as it goes without one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from evaluators.compile.compiler import compile_network
from evaluators.compile.cuda import toolkit
from tests.benchmarks.cuda import GRAPHS, WRONG, Card, available, compare, result, row
from tests.benchmarks.kernels.comparison import Comparison, Spread, Summary
from tests.benchmarks.kernels.peers import ONNXRUNTIME, OURS

H100 = Card("NVIDIA H100 80GB HBM3", "9.0", 132, 1_980_000, 49_152, 52_428_800)


def test_a_card_becomes_a_profile_of_its_own_architecture() -> None:
    profile = H100.profile()
    assert profile.gpu is not None
    assert (profile.gpu.arch, profile.gpu.clock_ghz, profile.in_half) == ("sm_90", 1.98, True)
    old = Card("NVIDIA Quadro M2000", "5.2", 6, 1_163_000, 49_152, 1_048_576).profile()
    assert not old.in_half


@pytest.mark.skipif(
    not any(True for _ in toolkit._candidates()), reason="no nvcc: `pip install 'understudy[cuda]'`"
)
def test_a_network_is_compiled_for_that_architecture(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3)).eval()
    library = compile_network(network, torch.randn(1, 3, 12, 12), H100.profile(), tmp_path / "student.so").library
    code = library.read_bytes()
    assert code[18:20] == b"\x3e\x00"  # ELF's number of x86-64
    assert b".nv.info" in code


@pytest.mark.skipif(Card.at_hand() is not None, reason="there is a GPU: `make bench-cuda`")
def test_without_a_gpu_it_says_so_in_one_sentence() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.cuda"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("no NVIDIA GPU at hand")
    assert available() == [OURS]


def test_what_fails_is_named_and_the_last_line_holds_the_means() -> None:
    times = {
        OURS: Spread(1e-3, 1e-3, 2e-3),
        GRAPHS: Spread(2e-3, 2e-3, 2e-3),
        ONNXRUNTIME: Spread(4e-3, 4e-3, 4e-3),
    }
    good = Comparison("one", "student", times, dict.fromkeys(times, 1e-3), {}, 1.0)
    bad = Comparison("two", "student", {}, {OURS: 3 * WRONG}, {OURS: "differs from torch by 6e-02"}, 1.0)
    cells = row(good).strip("| ").split(" | ")
    assert cells[:3] == ["one", "1.000 (1.000-2.000), 1e-03", "-"]
    assert cells[-3:] == ["0.50", "nan", "0.25"]
    assert "differs from torch" in row(bad)
    assert result(H100, Summary((good, bad))) == (
        'RESULT cuda card="NVIDIA H100 80GB HBM3" geomean_vs_torch_graphs=0.500 '
        "geomean_vs_torch_compile=nan geomean_vs_ort=0.250 "
        "worst_error=6.0e-02 failed=two"
    )
    nothing = compare("mobile-32-0", H100.profile(), [], 1)
    assert (nothing.times, nothing.best) == ({}, None)
