"""Every task from its data to a bundle: what the delivered student keeps of its teacher, and how fast it is.

    python -m tests.benchmarks.tasks [--shared ../shared/data] [--only NAME ...] [--trials 12] [--out DIR]

Goes on where it was stopped. See ``tests/benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path

from results.measurement import Measurement, unit_of
from tests.benchmarks.distill.report import facts
from tests.benchmarks.tasks.data import TASKS
from tests.benchmarks.tasks.delivered import Figures, measured, searched
from tests.benchmarks.tasks.picture import draw
from understudy import UnderstudyError


def main() -> None:
    """Do what is not done yet, and report."""
    options = _options()
    out = options.out.resolve()
    runs = out / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    common = ("--trials", str(options.trials), "--workers", str(options.workers), "--finalists", "3")
    found = []
    for name in options.only or TASKS:
        spec = TASKS[name]
        data = spec.data(options.shared.resolve(), out / "data")
        if data is None:
            _say(f"{name}: skipped, its data are not in {options.shared}")
            continue
        try:
            store = searched(name, data, (*common, *spec.options), runs, _say)
            found.append(measured(name, store))
        except (UnderstudyError, subprocess.CalledProcessError) as error:
            _say(f"{name}: failed: {error} (see {runs})")
            continue
        _say(_line(found[-1]))
    (out / "tasks.json").write_text(
        json.dumps(facts(trials=options.trials) | {"tasks": [each.to_json() for each in found]}, indent=1)
    )
    _say("\n".join(table(found)))
    if found:
        draw(found, out)
    retained = min((each.retained for each in found), default=float("nan"))
    speedup = min((each.speedup for each in found if each.speedup is not None), default=float("nan"))
    _say(f"RESULT tasks ok={len(found)}/{len(TASKS)} retained_min={retained:.3f} speedup_min={speedup:.2f}")


def table(found: list[Figures]) -> list[str]:
    """The figures in Markdown."""
    rows = [
        "| task | metric | teacher | alone | student | retained | latency | speed-up | to ONNX Runtime |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in found:
        teacher, student = _shown(each, each.teacher), _shown(each, each.student)
        alone = "-" if each.alone is None else _shown(each, each.alone)
        ratio, low, high = each.to_onnxruntime
        rows.append(
            f"| {each.task} | {each.metric} | {teacher} | {alone} | {student} | "
            f"{each.retained:.3f} | {1e6 * each.latency:.0f} us | {_times(each.speedup)} | "
            f"{ratio:.2f} ({low:.2f} to {high:.2f}) |"
        )
    return rows


def _line(figures: Figures) -> str:
    return (
        f"{figures.task}: {figures.metric} {_shown(figures, figures.student)} from the bundle (in the record "
        f"{_shown(figures, figures.recorded)}; teacher {_shown(figures, figures.teacher)}), "
        f"{_times(figures.speedup)} times as fast"
    )


def _times(speedup: float | None) -> str:
    return "-" if speedup is None else f"{speedup:.1f}"


def _shown(figures: Figures, value: float) -> str:
    """What the record keeps as accuracy, as people read it."""
    return str(Measurement(value, unit_of(figures.metric))).removeprefix(f"{figures.metric} ")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.tasks", description=__doc__.split("\n")[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"), help="where the data sets lie")
    parser.add_argument("--only", nargs="+", choices=TASKS, metavar="NAME", help="these tasks (default: all)")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results/runs/tasks"))
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
