"""What the comparison leaves: lines on the terminal, a JSON file and a picture."""

from __future__ import annotations

import json
import math
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hw_profiles.profile import load_profile
from tests.benchmarks.kernels.comparison import Comparison, Spread, Summary
from tests.benchmarks.kernels.peers import OURS, PEERS

HEADER = (
    f"{'network':20} " + " ".join(f"{name:>24}" for name in (OURS, *PEERS)) + "  vs ort  vs best  compile  error"
)
_PACKAGES = ("apache-tvm", "onnxruntime", "openvino", "torch", "transformers")
_COLOURS = {"onnxruntime": "#3b6fb6", "openvino": "#7a4fa3", "torch.compile": "#d9822b"}
_SYMBOLS = {"onnxruntime": "o", "openvino": "D", "torch.compile": "s"}


def row(comparison: Comparison) -> str:
    """A network's line: milliseconds with quartiles by runtime, ratios, seconds of compiling, our error."""
    cells = [_cell(comparison.times.get(name)) for name in (OURS, *PEERS)]
    compiled = f"{comparison.compile_s:6.2f} s" if comparison.compile_s is not None else f"{'failed':>8}"
    error = comparison.errors.get(OURS, math.nan)
    ratios = f"{comparison.ratio('onnxruntime'):7.2f}  {comparison.ratio(comparison.best):7.2f}"
    line = f"{comparison.network:20} {' '.join(cells)} {ratios} {compiled}  {error:.0e}"
    notes = [f"\n    {name} is left out: {why}" for name, why in comparison.failures.items()]
    return line + "".join(notes)


def facts(threads: int, rounds: int) -> dict[str, Any]:
    """Where and with what the comparison ran."""
    profile = load_profile("x86-host")
    return {
        "machine": profile.description,
        "mcpu": profile.mcpu,
        "system": platform.platform(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "threads": threads,
        "rounds": rounds,
        "versions": {name: version(name) for name in _PACKAGES},
    }


def write_report(summary: Summary, folder: Path) -> None:
    """Write ``kernels.json``, ``kernels.png`` and ``kernels.svg``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kernels.json").write_text(json.dumps(summary.to_json(), indent=1) + "\n")
    draw(summary, folder)


def draw(summary: Summary, folder: Path) -> None:
    """Our time over each peer's by network, on a logarithmic axis: left of 1 ours is faster."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "understudy", "font.size": 9}):
        shown = [c for c in summary.comparisons if OURS in c.times and c.best is not None]
        drawn = Figure(figsize=(8.4, 1.6 + 0.24 * len(shown)), layout="constrained", facecolor="white")
        FigureCanvasAgg(drawn)
        axes = drawn.subplots()
        _draw_ratios(axes, shown)
        threads = summary.facts["threads"]
        axes.set_title(
            f"compiled by us against other runtimes, {threads} threads", loc="left", fontsize=11, pad=24
        )
        for suffix, options in (("png", {"dpi": 150}), ("svg", {"metadata": {"Date": None}})):
            drawn.savefig(folder / f"kernels.{suffix}", format=suffix, **options)


def _draw_ratios(axes: Any, shown: list[Comparison]) -> None:
    for peer in [peer for peer in PEERS if any(peer in c.times for c in shown)]:
        points = [(c.ratio(peer), index) for index, c in enumerate(shown) if peer in c.times]
        axes.scatter(
            [ratio for ratio, _ in points],
            [index for _, index in points],
            label=f"over {peer}",
            marker=_SYMBOLS[peer],
            color=_COLOURS[peer],
            s=24,
            zorder=3,
        )
    axes.axvline(1, color="#5a6675", linewidth=1)
    axes.set(xscale="log", xlabel="our time over the peer's, logarithmic (below 1: ours is faster)")
    axes.set_yticks(range(len(shown)), [c.network for c in shown])
    axes.invert_yaxis()
    axes.grid(color="#e8ecf0", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(PEERS))


def _cell(spread: Spread | None) -> str:
    if spread is None:
        return f"{'-':>24}"
    text = f"{1e3 * spread.median:.3f} ({1e3 * spread.low:.3f}-{1e3 * spread.high:.3f})"
    return f"{text:>24}"
