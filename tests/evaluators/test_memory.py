"""Peak memory as it is planned, against a process that holds it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from hw_profiles.profile import load_profile
from tests.benchmarks.memory.__main__ import plan_and_held


def test_a_process_grows_by_what_was_planned(tmp_path: Path) -> None:
    """Padded rows of the first layer, which lie in its kernel, are a tenth of it."""
    network = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 1), nn.ReLU()).eval()
    profile = load_profile("x86-host").with_threads(1)
    plan, held = plan_and_held(network, torch.zeros(1, 3, 320, 320), profile, tmp_path)
    activations = 4 * (3 * 320**2 + 2 * 16 * 160**2)
    assert plan > activations + 4 * 3 * 320**2
    assert abs(held.running - plan) < 0.05 * plan
    assert held.highest >= held.running >= held.loaded
