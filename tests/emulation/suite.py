"""The networks that compilers are compared on, compiled for 64-bit ARM boards and run on the emulated machine.

Images, texts and sounds are small, and two language models have two layers only, so that the emulator finishes.
The kinds of kernels are the same.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from hw_profiles.profile import load_profile
from tests.benchmarks.kernels.networks import REFERENCES, TOKENS, Network
from tests.emulation.machine import add_case, emulated_python, run_cases
from understudy import CompileError

SIDE, WORDS, SAMPLES = 64, 16, 2000
FEWER: Mapping[str, Mapping[str, int]] = {
    "vit-tiny": {"image_size": SIDE},
    "distilbert": {"n_layers": 2},
    "gpt2-64": {"n_layer": 2},
}
BOARDS = ("rpi4", "rpi5")
LIMIT_S = 1800


def small(name: str) -> Network:
    """The network of that name with a small input."""
    network = REFERENCES[name]
    usual = network.example(torch.Generator())
    if not usual.is_floating_point():
        example = partial(_words, WORDS)
    elif usual.ndim == 4:
        example = partial(_floats, (1, 3, SIDE, SIDE))
    else:
        example = partial(_floats, (1, SAMPLES))
    return replace(network, make=partial(network.make, **FEWER.get(name, {})), example=example)


def _floats(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator)


def _words(count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(TOKENS, (1, count), generator=generator)


def check(name: str) -> list[str]:
    """A cell for each board: the largest difference to torch, or why there is none."""
    network, x = small(name).build()
    cells = []
    for board in BOARDS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                add_case(Path(folder), name, network, (x,), load_profile(board).with_threads(2))
                cells.append(f"{run_cases(Path(folder), LIMIT_S)[name]:.0e}")
            except CompileError as error:
                cells.append(str(error))
    return cells


def main() -> None:
    """Print a table of differences, a line a network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=REFERENCES, default=list(REFERENCES))
    names = parser.parse_args().only
    if emulated_python() is None:
        parser.error("there is no emulated machine: `make emulator` makes one (as root)")
    print(f"| network | {' | '.join(BOARDS)} | seconds |\n|---|{'---|' * len(BOARDS)}---|", flush=True)
    for name in names:
        start = time.perf_counter()
        cells = check(name)
        print(f"| {name} | {' | '.join(cells)} | {time.perf_counter() - start:.0f} |", flush=True)


if __name__ == "__main__":
    main()
