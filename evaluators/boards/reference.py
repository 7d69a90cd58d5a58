"""The network that is timed in turn with students, by which a board's own drift and throttling are seen."""

from __future__ import annotations

from pathlib import Path

from hw_profiles.profile import Profile

SHAPE = (1, 16, 32, 32)
"""Of its input, float32."""


def compile_reference(profile: Profile, library: Path) -> None:
    """Compile it for a profile: 19 million multiply-adds, on all threads that students use.

    Raises ``CompileError``.
    """
    import torch
    from torch import nn

    from evaluators.compile.compiler import compile_network

    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(16, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 16, 3, padding=1))
    compile_network(network, (torch.zeros(SHAPE),), profile, library)
