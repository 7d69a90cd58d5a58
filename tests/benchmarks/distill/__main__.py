"""Every way of teaching against the same student trained alone: same weights, steps and order of samples.

    python -m tests.benchmarks.distill [--data digits] [--train-images 300] [--epochs 10] [--seeds 3]
                                       [--methods NAME ...] [--teachers residual-16 mobile-1] [--graph cora.npz]
                                       [--out DIR]

Goes on where it was stopped. See ``tests/benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch

from evaluators.distill.allocator import keep_freed_memory
from evaluators.distill.catalogue import methods
from tests.benchmarks.distill.ledger import Ledger
from tests.benchmarks.distill.others import graph_figures, other_figures
from tests.benchmarks.distill.peer import TERMS, peer_missing
from tests.benchmarks.distill.report import facts, table, write_report
from tests.benchmarks.distill.setting import load_setting
from tests.benchmarks.distill.summarise import ALONE, summarise
from tests.benchmarks.distill.trainings import OURS, PEER, Bench


def main() -> None:
    """Train and time what is not known yet, and report."""
    options = _options()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    setting = load_setting(
        options.data,
        tuple(options.teachers),
        options.train_images or None,
        options.image_size,
        options.epochs,
        options.teacher_epochs,
        options.out / "cache",
        _say,
    )
    for name, score in setting.teachers().items():
        _say(f"teacher {name}: {100 * score:.2f} % test")
    bench = Bench(setting, Ledger(options.out / "trainings.jsonl"))
    fitting = [
        name for name, method in methods().items() if name != ALONE and method.family not in ("graphs", "maps")
    ]
    chosen = options.methods or fitting
    missing = peer_missing()
    if missing:
        _say(missing)
    shared = [] if missing or options.no_peer else [name for name in chosen if name.split(":")[0] in TERMS]
    if not options.times_only:
        _train(bench, chosen, shared, options.seeds)
    if not options.no_times:
        _time(bench, chosen, shared)
    others = {} if options.no_others else other_figures(bench.ledger, options.out / "cache", options.seeds, _say)
    graph = options.graph and graph_figures(
        bench.ledger, options.graph, options.out / "cache", options.seeds, _say
    )
    told = facts(data=options.data, image_size=setting.task.image_size, seeds=options.seeds)
    summary = summarise(bench, chosen, shared, options.seeds, told, others)
    write_report(summary, options.out)
    _say(table(summary))
    _say(f"written: {options.out}/distill.json, distill.md, distill.png, distill.svg")
    if graph:
        _say(graph)
    _say(summary.result)


def _train(bench: Bench, chosen: list[str], shared: list[str], seeds: int) -> None:
    """Seed by seed, so that a benchmark that is stopped has something of every method."""
    for seed in range(seeds):
        for pair in bench.setting.pairs:
            for by, names in ((OURS, [ALONE, *chosen]), (PEER, shared)):
                for name in names:
                    row = bench.trained(pair, name, seed, by)
                    _say(f"{pair.name}, seed {seed}, {by} {name}: {100 * row['accuracy']:.2f} %")


def _time(bench: Bench, chosen: list[str], shared: list[str]) -> None:
    """The first pair's steps are timed; a method that the peer has, in turn with it."""
    for name in [ALONE, *chosen]:
        rows = bench.timed(bench.setting.pairs[0], name, (OURS, PEER) if name in shared else (OURS,))
        said = ", ".join(f"{by} {1e3 * statistics.median(row['steps']):.2f} ms" for by, row in rows.items())
        _say(f"a step of {name}: {said}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.distill", description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="digits", help="as of `understudy search`")
    parser.add_argument("--image-size", type=int, help="largest side in pixels (default: from the data)")
    parser.add_argument(
        "--train-images",
        type=int,
        default=300,
        help="images a student learns from, of all that its teacher did; 0: all",
    )
    parser.add_argument("--epochs", type=int, default=10, help="length of a student's training")
    parser.add_argument("--teacher-epochs", type=int, help="length of a teacher's training")
    parser.add_argument("--teachers", nargs="+", default=["residual-16", "mobile-1"], metavar="FAMILY-SIZE")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="these ways of teaching (default: all)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--times-only", action="store_true", help="train nothing")
    parser.add_argument("--no-times", action="store_true", help="time nothing")
    parser.add_argument("--no-peer", action="store_true", help="leave torchdistill out")
    parser.add_argument("--no-others", action="store_true", help="leave out int8, data-free and update")
    parser.add_argument("--graph", type=Path, help="a graph, such as Cora: what perceptrons keep of its network")
    parser.add_argument("--out", type=Path, default=Path("results/runs/distill"))
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
