"""The record of a run as a table for pandas."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.candidate import Candidate
from results.store import RunStore
from results.view import read_view

if TYPE_CHECKING:
    import pandas as pd

_IDENTITY = ("number", "state", "reason", "key", "on_front")
_FIGURES = (
    "accuracy",
    "latency_ms",
    "latency_low_ms",
    "latency_high_ms",
    "size_mb",
    "memory_mb",
    "energy_mj",
    "agreement",
    "fidelity",
)
_FIXED = (*_IDENTITY, *_FIGURES, "elapsed", "finished")


def read_frame(run: Path | str, target: str = "") -> pd.DataFrame:
    """One row a candidate of the run in that folder, in order of ``number``.

    ``target`` is that of the figures where the run has several.

    Columns: number, state, reason, key, on_front, accuracy and agreement (shares in 0..1, validation), fidelity
    (below 1 where these are of a student that had only this share of the search's training),
    latency_ms with its quartiles latency_low_ms and latency_high_ms, size_mb and memory_mb (10^6 bytes),
    energy_mj (10^-3 joules), elapsed (seconds of search), finished (UTC), then ``choice.<name>`` for every named
    choice and ``seconds.<stage>``. A figure that was not taken is missing (NaN). Raises ``RunError`` when ``run``
    is not a run folder, or has no such target.
    """
    import pandas as pd

    view = read_view(RunStore.open(Path(run)), target)
    on_front = {candidate.number for candidate in view.front}
    frame = pd.DataFrame([_row(candidate, candidate.number in on_front) for candidate in view.candidates])
    choices = [name for name in frame.columns if name.startswith("choice.")]
    seconds = [name for name in frame.columns if name.startswith("seconds.")]
    frame = frame.reindex(columns=[*_FIXED, *choices, *seconds])
    frame["finished"] = pd.to_datetime(frame["finished"], utc=True, format="ISO8601")
    return frame


def _row(candidate: Candidate, on_front: bool) -> dict[str, Any]:
    figures = candidate.measurements
    row: dict[str, Any] = {
        name: getattr(candidate, name) for name in ("number", "state", "reason", "key", "fidelity", "elapsed")
    }
    row |= {"on_front": on_front, "finished": candidate.finished or None}
    row |= {name: figures[name].value for name in ("accuracy", "agreement") if name in figures}
    row |= {f"{name}_mb": figures[name].value / 1e6 for name in ("size", "memory") if name in figures}
    row |= {"energy_mj": 1e3 * figures["energy"].value} if "energy" in figures else {}
    if "latency" in figures:
        ends = {"": figures["latency"].value, "_low": figures["latency"].low, "_high": figures["latency"].high}
        row |= {f"latency{end}_ms": 1e3 * value for end, value in ends.items() if value is not None}
    row |= {f"choice.{name}": value for name, value in candidate.choice.items()}
    return row | {f"seconds.{stage}": spent for stage, spent in candidate.seconds.items()}
