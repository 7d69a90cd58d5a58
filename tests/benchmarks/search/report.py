"""What the searches of a benchmark found, as text, a file of figures and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from results.hypervolume import hypervolume, undominated
from tests.benchmarks.search.searching import Trace
from tests.benchmarks.search.table import Table

COUNTS = (25, 50, 100, 200)
REGRET_AFTER = 50


def row_of(
    table: Table, trace: Trace, limited: Sequence[Trace] = (), alone: Sequence[Trace] = ()
) -> dict[str, Any]:
    """What is kept of one search: the hypervolume after each evaluation as a share of the table's, the points that
    its best single networks lack after 50, those of searches that were told each limit, of those that were told to
    seek accuracy ``alone``, and the seconds of a proposal."""
    ends = range(1, len(trace.rows) + 1)
    volumes = [hypervolume(undominated(table.points(trace.rows[:end])), table.reference) for end in ends]
    early = trace.rows[:REGRET_AFTER]
    return {
        "hypervolume": [round(volume / table.best_volume, 5) for volume in volumes],
        "points_missed": [_missed(table, early, limit) for limit in table.limits],
        "points_missed_within": _missed_by(table, limited),
        "points_missed_alone": _missed_by(table, alone),
        "proposal_s": {
            "median": float(np.median(trace.seconds)),
            "last": float(np.median(trace.seconds[-10:])),
            "largest": max(trace.seconds),
        },
    }


def _missed_by(table: Table, searches: Sequence[Trace]) -> list[float]:
    """The same of searches within each limit, if there are some."""
    return [
        _missed(table, each.rows[:REGRET_AFTER], limit)
        for each, limit in zip(searches, table.limits, strict=False)
    ]


def _missed(table: Table, rows: Sequence[int], limit: float) -> float:
    """By how many points the best of rows within a latency limit stays behind the table's."""
    best = table.best_accuracy(range(len(table.choices)), limit)
    return round(100 * (best - table.best_accuracy(rows, limit)), 3)


@dataclass(frozen=True)
class Line:
    """One method on one device: means over its seeds (and standard deviations) after ``COUNTS`` evaluations."""

    device: str
    method: str
    seeds: int
    hypervolume: tuple[float, ...]
    spread: tuple[float, ...]
    points_missed: tuple[float, ...]
    points_missed_within: tuple[float, ...]
    points_missed_alone: tuple[float, ...]
    proposal_s: float


def line_of(device: str, method: str, rows: Sequence[Mapping[str, Any]]) -> Line:
    """The line of a method's rows on a device; a search that ended early keeps its last volume."""
    curves = np.array([[_after(row["hypervolume"], count) for count in COUNTS] for row in rows])
    return Line(
        device,
        method,
        len(rows),
        tuple(map(float, curves.mean(0))),
        tuple(map(float, curves.std(0))),
        tuple(np.mean([row["points_missed"] for row in rows], axis=0).tolist()),
        tuple(np.mean([row["points_missed_within"] for row in rows], axis=0).tolist()),
        tuple(np.mean([row["points_missed_alone"] for row in rows], axis=0).tolist()),
        float(np.mean([row["proposal_s"]["last"] for row in rows])),
    )


def table_text(lines: Sequence[Line]) -> str:
    """The lines as a table in Markdown."""
    heads = [f"hv{count}" for count in COUNTS]
    text = [
        f"| device | method | seeds | {' | '.join(heads)} | points missed within 3 limits | when told the limit "
        "| and to seek accuracy alone | s a proposal |",
        "|" + "---|" * (len(heads) + 7),
    ]
    for line in lines:
        volumes = " | ".join(
            f"{mean:.3f} ±{spread:.3f}" for mean, spread in zip(line.hypervolume, line.spread, strict=True)
        )
        missed = " | ".join(
            ", ".join(f"{points:.2f}" for points in each)
            for each in (line.points_missed, line.points_missed_within, line.points_missed_alone)
        )
        text.append(
            f"| {line.device} | {line.method} | {line.seeds} | {volumes} | {missed} | {line.proposal_s:.3f} |"
        )
    return "\n".join(text)


def result_line(lines: Sequence[Line], method: str) -> str:
    """The one line that a change is judged by: the least of the devices' means."""
    own = [line.hypervolume for line in lines if line.method == method]
    least = dict(zip(COUNTS, np.min(own, axis=0), strict=True))
    shown = " ".join(f"hv{count}={least[count]:.3f}" for count in COUNTS[1:])
    return f"RESULT search {shown} (minimum over devices)"


def write_report(
    folder: Path, lines: Sequence[Line], rows: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
) -> None:
    """``search.json`` with the lines, and pictures of the mean curves, ``search.png`` and ``search.svg``."""
    (folder / "search.json").write_text(json.dumps([asdict(line) for line in lines], indent=1) + "\n")
    from matplotlib.figure import Figure

    devices = list(dict.fromkeys(device for device, _ in rows))
    figure = Figure(figsize=(4.2 * len(devices), 3.6), layout="constrained")
    panels = figure.subplots(1, len(devices), squeeze=False, sharey=True)[0]
    for panel, device in zip(panels, devices, strict=True):
        for (where, method), found in rows.items():
            if where == device:
                panel.plot(range(1, COUNTS[-1] + 1), _mean_curve(found), label=method)
        panel.set_title(device)
        panel.set_xlabel("accuracies evaluated")
        panel.set_ylim(0.6, 1.0)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("hypervolume, share of the table's front")
    panels[-1].legend(fontsize=7)
    for name in ("search.png", "search.svg"):
        figure.savefig(folder / name)


def _mean_curve(rows: Sequence[Mapping[str, Any]]) -> Sequence[float]:
    ends = range(1, COUNTS[-1] + 1)
    return [float(np.mean([_after(row["hypervolume"], end) for row in rows])) for end in ends]


def _after(volumes: Sequence[float], count: int) -> float:
    return float(volumes[min(count, len(volumes)) - 1]) if volumes else 0.0
