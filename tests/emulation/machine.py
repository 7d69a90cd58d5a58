"""The emulated 64-bit ARM machine, where there is one (``make emulator``), and running students on it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from evaluators.compile.compiler import compile_network
from hw_profiles.profile import Profile

_HERE = Path(__file__).parent
_REPOSITORY = _HERE.parents[1]
VARIABLE = "UNDERSTUDY_ARM64_PYTHON"


def emulated_python() -> Path | None:
    """The emulated machine's Python: what the variable names, or what ``make emulator`` made."""
    path = Path(os.environ.get(VARIABLE) or _REPOSITORY / ".emulator" / "python")
    return path if path.is_file() else None


def add_case(folder: Path, name: str, network: nn.Module, inputs: Sequence[Tensor], profile: Profile) -> None:
    """Compile a network for the profile into ``folder``, with the inputs and what torch gives for them."""
    with torch.no_grad():
        outputs = network.eval()(*inputs)
    compile_network(network, tuple(inputs), profile, folder / f"{name}.so")
    arrays = {f"in{index}": tensor.numpy() for index, tensor in enumerate(inputs)}
    np.savez(folder / f"{name}.npz", out=outputs.numpy(), **arrays)


def run_cases(folder: Path, timeout_s: float) -> dict[str, float]:
    """Each case's largest difference from torch on the emulated machine, as a share of its largest output."""
    python = emulated_python()
    assert python is not None
    runner = _REPOSITORY / "results" / "bundle"
    command = [str(python), str(_HERE / "differences.py"), str(runner), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    differences: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return differences
