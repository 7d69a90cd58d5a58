"""What the benchmark leaves: a table, a JSON file and a picture."""

from __future__ import annotations

import json
import math
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hw_profiles.profile import load_profile
from tests.benchmarks.distill.summary import Estimate, Summary


def facts(**more: Any) -> dict[str, Any]:
    """Where and with what the benchmark ran."""
    return {
        "machine": load_profile("x86-host").description,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "torch": version("torch"),
        **more,
    }


def table(summary: Summary) -> str:
    """The gains as a table in Markdown, best first; then what the peer reaches."""
    pairs = list(summary.alone)
    lines = [
        f"| method | {' | '.join(pairs)} | all | a step |",
        f"|---|{'---|' * (len(pairs) + 2)}",
        f"| the student alone | {' | '.join(_level(summary.alone[pair]) for pair in pairs)} | | |",
    ]
    for gain in sorted(summary.gains, key=lambda gain: -gain.overall.mean):
        cells = [str(gain.by_pair[pair]) if pair in gain.by_pair else "-" for pair in pairs]
        lines.append(f"| {gain.method} | {' | '.join(cells)} | {gain.overall} | {_time(gain.step_ms)} |")
    if summary.peers:
        lines += ["", "| method | ours minus torchdistill, points | our time a step to theirs |", "|---|---|---|"]
        lines += [f"| {peer.method} | {peer.difference} | {peer.time_ratio:.2f} |" for peer in summary.peers]
    return "\n".join(lines)


def write_report(summary: Summary, folder: Path) -> None:
    """Write ``distill.json``, ``distill.md``, ``distill.png`` and ``distill.svg``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "distill.json").write_text(json.dumps(summary.to_json(), indent=1) + "\n")
    (folder / "distill.md").write_text(table(summary) + "\n")
    draw(summary, folder)


def draw(summary: Summary, folder: Path) -> None:
    """Each method's gain over the student alone: the mean with its interval, and the mean of each pair."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    gains = sorted(summary.gains, key=lambda gain: gain.overall.mean)
    with matplotlib.rc_context({"svg.hashsalt": "understudy", "font.size": 9}):
        drawn = Figure(figsize=(7.6, 1.4 + 0.3 * len(gains)), layout="constrained", facecolor="white")
        FigureCanvasAgg(drawn)
        axes = drawn.subplots()
        for place, gain in enumerate(gains):
            means = [estimate.mean for estimate in gain.by_pair.values()]
            axes.scatter(means, [place] * len(means), color="#b7c3d0", s=16, zorder=2)
            half = 0 if math.isnan(gain.overall.half) else gain.overall.half
            colour = "#3b6fb6" if gain.overall.mean > 0 else "#c0392b"
            axes.errorbar(gain.overall.mean, place, xerr=half, fmt="o", color=colour, capsize=3, zorder=3)
        axes.axvline(0, color="#5a6675", linewidth=1)
        axes.set_yticks(range(len(gains)), [gain.method for gain in gains])
        axes.set(
            xlabel="points of test accuracy over the student alone, equal steps (95 % interval; grey: each pair)"
        )
        axes.set_title(f"what each way of teaching buys: {summary.facts.get('data', '')}", loc="left", fontsize=11)
        axes.grid(color="#e8ecf0", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        for suffix, options in (("png", {"dpi": 150}), ("svg", {"metadata": {"Date": None}})):
            drawn.savefig(folder / f"distill.{suffix}", format=suffix, **options)


def _level(estimate: Estimate) -> str:
    half = "" if math.isnan(estimate.half) else f" ± {estimate.half:.2f}"
    return f"{estimate.mean:.2f} %{half}"


def _time(milliseconds: float) -> str:
    return "-" if math.isnan(milliseconds) else f"{milliseconds:.1f} ms"
