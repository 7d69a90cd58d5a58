"""How fast a search finds the front, on a table of evaluated architectures: nothing is trained.

    python -m tests.benchmarks.search --table FILE [--accuracy COLUMN] [--latency COLUMN ...] [--seeds 20]
                                      [--peer-seeds N] [--methods NAME ...] [--earlier COLUMN] [--out DIR]

Goes on where it was stopped. See ``tests/benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from search.sampler import OURS
from tests.benchmarks.distill.ledger import Ledger
from tests.benchmarks.search.methods import WARM, methods, searched
from tests.benchmarks.search.report import COUNTS, line_of, result_line, table_text, write_report
from tests.benchmarks.search.table import LATENCY, LIMITS, read_frame


def main(arguments: Sequence[str] | None = None) -> None:
    """Search what was not searched yet, and report; ``arguments`` are those of the command line."""
    options = _options(arguments)
    if not options.table.exists():
        print(f"skipped: there is no table {options.table}")
        return
    columns = options.latency or _latencies(options.table)
    searches, missing = methods()
    for line in missing:
        print(line, flush=True)
    chosen = options.methods or [OURS, *(name for name in searches if name != OURS)]
    chosen += [WARM] if options.earlier else []
    before = dict(zip(columns, [*columns[1:], columns[0]], strict=True))
    ledger = Ledger(options.out / "searches.jsonl")
    keys = [
        {"table": str(options.table.resolve()), "accuracy": options.accuracy, "latency": column}
        | {
            "method": method,
            "seed": seed,
            "evaluations": options.evaluations,
            "limits": list(LIMITS),
            "alone": True,
        }
        | ({"earlier": [options.earlier, before[column]]} if method == WARM else {})
        for seed in range(options.seeds)
        for column in columns
        for method in chosen
        if method in (OURS, WARM) or seed < options.peer_seeds
    ]
    _run([key for key in keys if ledger.get(key) is None], ledger, options.processes)
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for key in keys:
        row = ledger.get(key)
        assert row is not None
        rows.setdefault((key["latency"].removeprefix(LATENCY), key["method"]), []).append(row)
    lines = [line_of(device, method, found) for (device, method), found in rows.items()]
    write_report(options.out, lines, rows)
    print(table_text(lines))
    print(f"written: {options.out}/search.json, search.png, search.svg")
    print(result_line(lines, OURS if OURS in chosen else chosen[0]))


def _run(keys: list[dict[str, Any]], ledger: Ledger, processes: int) -> None:
    """Seed by seed, so that a benchmark that is stopped has something of every method and device."""
    for done, (key, found) in enumerate(_searched(keys, processes), 1):
        ledger.row(key, lambda found=found: found)  # type: ignore[misc]
        told = f"{key['latency'].removeprefix(LATENCY)}, seed {key['seed']}, {key['method']}"
        print(f"{done} of {len(keys)}: {told}: {found['hypervolume'][-1]:.4f}", flush=True)


def _searched(keys: list[dict[str, Any]], processes: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each key with its row as soon as it is there; in this process where there is to be one only."""
    if processes == 1 or len(keys) < 2:
        yield from ((key, searched(key)) for key in keys)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        waiting = {pool.submit(searched, key): key for key in keys}
        for future in as_completed(waiting):
            yield waiting[future], future.result()


def _latencies(file: Path) -> list[str]:
    return [str(column) for column in read_frame(file) if str(column).startswith(LATENCY)]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.search", description=__doc__.split("\n")[0])
    parser.add_argument("--table", type=Path, required=True, help="Parquet or CSV with columns choice:NAME")
    parser.add_argument("--accuracy", default="accuracy:cifar100-val", help="column of accuracies in per cent")
    parser.add_argument("--latency", nargs="+", help="columns of latencies in ms (default: all latency_ms:*)")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--peer-seeds", type=int, help="of all methods but ours (default: as many)")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="these alone (default: all)")
    parser.add_argument(
        "--earlier",
        metavar="COLUMN",
        help="also search after a search of 100 of these accuracies on the next device (default: no)",
    )
    parser.add_argument("--evaluations", type=int, default=COUNTS[-1], help="accuracies a search may ask for")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("results/runs/search-benchmark"))
    options = parser.parse_args(arguments)
    options.peer_seeds = options.seeds if options.peer_seeds is None else options.peer_seeds
    return options


if __name__ == "__main__":
    main()
