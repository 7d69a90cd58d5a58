"""A supernet and our sampler against our search without one, MobileNetV2 and NNI's evolution, at equal time.

    python -m tests.benchmarks.endtoend [--data ../shared/data/cifar10] [--images 10000] [--minutes 60] [--out DIR]

Goes on where it was stopped. See ``tests/benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from evaluators.supernet.kept import FOLDER, read_facts
from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.load import load_task
from results.hypervolume import hypervolume
from results.units import parse_time
from tests.benchmarks.distill.setting import fewer_images
from tests.benchmarks.endtoend.arms import Arms, Point, Setting

OURS, ALONE, MOBILENET, EVOLUTION = "supernet", "alone", "mobilenetv2", "evolution"
ARMS = (OURS, ALONE, EVOLUTION, MOBILENET)
SHARES = (0.25, 0.5, 1.0)
"""Of the latency limit, where the arms' most accurate students are compared."""


def main() -> None:
    """Run what is not done yet, and report."""
    options = _options()
    if not Path(options.data).exists() and "/" in options.data:
        print(f"skipped: {options.data} is not there")
        sys.exit(0)
    options.out.mkdir(parents=True, exist_ok=True)
    out = options.out.resolve()
    data, classes = _data(options.data, options.images, out / "data")
    setting = Setting(
        out=out,
        data=data,
        image_size=options.image_size,
        max_latency=options.max_latency,
        seconds=60 * options.minutes,
        epochs=options.epochs,
        final_epochs=options.final_epochs,
        supernet_epochs=options.supernet_epochs,
        finalists=options.finalists,
        workers=options.workers,
    )
    arms = Arms(setting, _say)
    arms.warm_up()
    for name in options.arms:
        getattr(arms, name)()
    _report(arms, options.arms, parse_time(options.max_latency), 1 / classes)


def _data(data: str, images: int, cache: Path) -> tuple[str, int]:
    """What the searches take, as ``--data``, with at most so many training images; and the number of classes."""
    cache.mkdir(exist_ok=True)
    task = load_task(data, cache=cache, seed=0)
    if not images or images >= task.size("train") or not isinstance(task, ImageTask):
        return data, task.classes
    fewer_images(task, images, cache)
    return str(cache / f"{task.fingerprint}-{images}.npz"), task.classes


def _report(arms: Arms, names: Sequence[str], limit: float, chance: float) -> None:
    """A line an arm, then the result."""
    volumes, best = {}, {}
    for name in names:
        points, took = arms.points(name), arms.ledger[name]
        volumes[name] = _volume(points, limit, chance)
        best[name] = [_best(points, share * limit) for share in SHARES]
        shown = "  ".join("-" if value is None else f"{100 * value:.2f} %" for value in best[name])
        _say(
            f"{name}: hypervolume {volumes[name]:.4f}; test accuracy within {SHARES} of {1e3 * limit:.3g} ms: "
            f"{shown}; {took['done']} of {took['candidates']} candidates taught or scored in "
            f"{took['searched']:.0f} s of search, {took['seconds']:.0f} s in all"
        )
    if OURS not in names:
        return
    facts = read_facts(arms.run("train") / FOLDER)
    trained = arms.ledger["train"]["seconds"]
    _say(
        f"the supernet and its sample took {trained:.0f} s of that time; Kendall {facts['kendall']:.2f}, Spearman "
        f"{facts['spearman']:.2f}: {'trusted' if facts['trusted'] else 'not trusted, so candidates were taught'}"
    )
    others = best.get(MOBILENET, [None] * len(SHARES))
    pairs = [(a, b) for a, b in zip(best[OURS], others, strict=True) if a is not None and b is not None]
    gained = f"{100 * statistics.fmean(a - b for a, b in pairs):.2f}" if pairs else "nan"
    ratio = volumes[OURS] / (volumes.get(ALONE) or float("nan"))
    took = arms.ledger[OURS]
    hourly = 3600 * took["done"] / took["searched"] if took["searched"] else 0.0
    _say(
        f"RESULT endtoend hv_vs_nosupernet={ratio:.3f} points_vs_mobilenetv2={gained} "
        f"rank_corr={facts['kendall']:.2f} candidates_per_hour={hourly:.0f}"
    )


def _volume(points: list[Point], limit: float, chance: float) -> float:
    """The share of the hypervolume between the limit and chance that a front covers, 0 to 1."""
    whole = limit * (1 - chance)
    return hypervolume([(latency, 1 - accuracy) for latency, accuracy in points], (limit, 1 - chance)) / whole


def _best(points: list[Point], limit: float) -> float | None:
    return max((accuracy for latency, accuracy in points if latency <= limit), default=None)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.endtoend", description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="../shared/data/cifar10", help="as of `understudy search`")
    parser.add_argument("--images", type=int, default=10_000, help="training images; 0: all")
    parser.add_argument("--image-size", type=int, help="largest input size in pixels (default: from the data)")
    parser.add_argument("--minutes", type=float, default=15.0, help="of each search, without its finalists")
    parser.add_argument("--max-latency", default="1ms")
    parser.add_argument("--epochs", type=int, help="of a candidate (default: that of a search)")
    parser.add_argument("--final-epochs", type=int, help="of a finalist")
    parser.add_argument("--supernet-epochs", type=int)
    parser.add_argument("--finalists", type=int, default=5)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results/runs/endtoend"))
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
