"""The colours of the figures: mid-tones that read on white and on dark, apart for colour-blind eyes."""

from __future__ import annotations

from collections.abc import Mapping

COLOURS: Mapping[str, str] = {
    "front": "#2f7de1",
    "done": "#8f9bab",
    "pruned": "#8f9bab",
    "infeasible": "#c2574a",
    "failed": "#c2574a",
    "student": "#e8862d",
    "fallen": "#e8862d",
    "teacher": "#8b5cd6",
    "limit": "#c2574a",
}

STEPS = ("#c9b458", "#93b765", "#5cb183", "#35a3a0", "#2f8db8", "#3a72c4", "#4b55bd", "#5a36a3")
"""From worse to better, in order of lightness."""
