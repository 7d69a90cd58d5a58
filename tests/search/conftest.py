"""A small image folder, and the command line as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.cli.main import main

OPTIONS = (
    *("--data", "shapes", "--space", "mobile", "--max-latency", "20ms", "--workers", "2"),
    *("--epochs", "2", "--final-epochs", "3", "--finalists", "2", "--sampler", "random"),
)
"""The limit holds on a computer that is busy with other tests."""
TRIALS = 4
"""Candidates of the finished search."""
QUICK = ("--data", "shapes", "--space", "mlp", "--teacher", "teacher.py:small", "--max-latency", "20ms")
"""Of searches that are not about images: networks compiled and taught in a moment, under a small teacher."""
_TEACHER = """
import torch
from torch import nn

def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
"""


@pytest.fixture(scope="session")
def workplace(tmp_path_factory) -> Iterator[Path]:
    """A folder with ``shapes/``: three classes of 30 pictures, 16 pixels, told apart by their stripes.

    The kernels that are tuned from then on are kept beside them, and so is the network that ``QUICK`` names.
    """
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "teacher.py").write_text(_TEACHER)
    random = np.random.default_rng(0)
    for label, stripes in {"across": (4, 1), "down": (1, 4), "plain": (1, 1)}.items():
        (folder / "shapes" / label).mkdir(parents=True)
        for number in range(30):
            pattern = np.kron(np.indices((16 // stripes[0], 16 // stripes[1])).sum(0) % 2, np.ones(stripes))
            noisy = 60 + 120 * pattern + random.normal(0, 20, (16, 16))
            picture = Image.fromarray(noisy.clip(0, 255).astype(np.uint8), "L")
            picture.save(folder / "shapes" / label / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERSTUDY_KERNELS", str(folder / "kernels.sqlite"))
        yield folder


def environment() -> dict[str, str]:
    """That of this process, for one of its own with one thread."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def command(*arguments: str) -> list[str]:
    """The command line of ``understudy`` with these arguments."""
    return [sys.executable, "-c", "from search.cli.main import main; main()", *arguments]


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``understudy`` in a folder, as a process of its own."""
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
    )


def call_here(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The same in this process, which has imported by now what another would have to."""
    out, errors, code = StringIO(), StringIO(), 0
    with chdir(folder), redirect_stdout(out), redirect_stderr(errors), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["understudy", *arguments])
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), errors.getvalue())


@pytest.fixture(scope="session")
def finished(workplace) -> Path:
    """The folder of a finished run on the shapes."""
    options = (*OPTIONS, "--trials", str(TRIALS), "--name", "finished", "--compare-scratch", "--tune", "2")
    done = call(workplace, "search", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return workplace / "results" / "runs" / "finished"
