"""Compiled networks against the runtimes that users would deploy instead.

    python -m tests.benchmarks.kernels [--only NAME ...] [--peers NAME ...] [--threads 2] [--rounds 9] [--quick]
                                       [--reuse-peers FILE] [--out DIR]

See ``tests/benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from tests.benchmarks.kernels.compare import prepared
from tests.benchmarks.kernels.comparison import Comparison, Summary, peers_of
from tests.benchmarks.kernels.networks import NETWORKS
from tests.benchmarks.kernels.peers import OURS, PEERS
from tests.benchmarks.kernels.report import HEADER, facts, row, write_report

QUICK = ("mobilenetv2-0.35-96", "mobile-32-1", "residual-32-1", "bert-4x256")


def main() -> None:
    """Compare the networks one after the other, printing a line for each."""
    options = _options()
    known = peers_of(json.loads(options.reuse_peers.read_text())) if options.reuse_peers else {}
    torch.set_num_threads(options.threads)
    print(HEADER, flush=True)
    comparisons: list[Comparison] = []
    for name in options.only:
        peers = [] if name in known else options.peers
        with prepared(name, [OURS, *peers], options.threads) as ready:
            comparisons.append(ready.compare(options.rounds, known.get(name)))
        print(row(comparisons[-1]), flush=True)
    summary = Summary(tuple(comparisons), facts(options.threads, options.rounds))
    if options.reuse_peers:
        print(f"peers' times were read from {options.reuse_peers}: not side by side")
    if options.out:
        write_report(summary, options.out)
        print(f"written: {options.out}/kernels.json, kernels.png, kernels.svg")
    print(summary.result)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.kernels", description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these networks: " + ", ".join(NETWORKS))
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS, help="compare with these runtimes")
    parser.add_argument("--threads", type=int, default=2, help="processors that each runtime may use")
    parser.add_argument("--rounds", type=int, default=9, help="how often each is timed")
    parser.add_argument("--quick", action="store_true", help=f"3 rounds of {', '.join(QUICK)}")
    parser.add_argument("--reuse-peers", type=Path, metavar="FILE", help="peers' times from the JSON of a run")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write JSON and picture there")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 3
    options.only = options.only or (QUICK if options.quick else tuple(NETWORKS))
    unknown = [name for name in options.only if name not in NETWORKS]
    if unknown:
        parser.error(f"no network {', '.join(unknown)}: choose among {', '.join(NETWORKS)}")
    return options


if __name__ == "__main__":
    main()
