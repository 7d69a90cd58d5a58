"""Compile the networks of the benchmark and note their kernels; goes on where an earlier run stopped."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evaluators.compile.compiler import link_kernels, lower_kernels
from evaluators.compile.export import import_network
from evaluators.compile.kernel_facts import facts_of
from evaluators.compile.kernel_times import list_kernels
from tests.benchmarks.latency_model.networks import Candidate, candidates, device

COMPILED = "compiled.jsonl"
TIMED = "timed.jsonl"


def prepare(folder: Path, share: int = 0, shares: int = 1) -> None:
    """Compile what is not compiled yet, a library and a line for each; one of ``shares`` processes."""
    folder.mkdir(parents=True, exist_ok=True)
    done = {Candidate(*line["candidate"]) for line in read_lines(folder / COMPILED)}
    for number, candidate in enumerate(candidates()):
        if candidate not in done and number % shares == share:
            append_line(folder / COMPILED, _compiled(candidate, folder / f"{candidate.file}.so"))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file that is only added to; a last one that was cut off is left out."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def append_line(path: Path, data: dict[str, Any]) -> None:
    """Add a line to a file."""
    with path.open("a") as file:
        file.write(json.dumps(data) + "\n")


def _compiled(candidate: Candidate, library: Path) -> dict[str, Any]:
    profile = device(candidate.device)
    network, example = candidate.build()
    computed, scheduled = lower_kernels(import_network(network, (example,)), profile)
    link_kernels(scheduled, profile, library)
    kernels = list_kernels(computed, scheduled)
    return {
        "candidate": [candidate.device, candidate.use, candidate.name],
        "library": library.name,
        "input": [list(example.shape), str(example.numpy().dtype)],
        "kernels": [asdict(kernel) for kernel in kernels],
        "facts": [asdict(facts_of(kernel, scheduled[kernel.name], profile)) for kernel in kernels],
    }
