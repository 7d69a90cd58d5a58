"""How well latencies are predicted: learnt from one half of two spaces, tested on the other.

    python -m tests.benchmarks.latency_model [--out DIR] [--step prepare|time|report] [--threads N] [--seconds S]

Interrupted, it goes on where it was. See ``tests/benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from tests.benchmarks.latency_model.prepare import prepare
from tests.benchmarks.latency_model.report import report
from tests.benchmarks.latency_model.timing import time_all


def main() -> None:
    """Compile, time and report; or one step of it."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.latency_model", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "understudy-latency-model")
    parser.add_argument("--step", choices=("prepare", "time", "report"), help="only this")
    parser.add_argument("--threads", type=int, default=1, help="of the networks to time")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop timing after so long")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.step in (None, "prepare"):
        prepare(options.out)
    if options.step == "time":
        time_all(options.out, options.seconds, options.threads)
    if options.step is None:  # a process has one pool of threads
        for threads in ("1", "2"):
            command = [
                sys.executable,
                "-m",
                "tests.benchmarks.latency_model",
                "--step",
                "time",
                "--threads",
                threads,
            ]
            subprocess.run([*command, "--out", str(options.out)], check=True)
    if options.step in (None, "report"):
        print(report(options.out))


if __name__ == "__main__":
    main()
