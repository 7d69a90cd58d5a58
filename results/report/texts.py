"""Texts on which the best student goes its own way, as a table of the page."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from results.report.sections import best_student
from results.view import RunView


def texts_html(view: RunView, run: Path) -> str:
    """The table; empty where the best student has no such texts."""
    best = best_student(view)
    path = run / best.files.get("texts", "") if best is not None else run
    if not path.is_file():
        return ""
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    heads = ("text", "label", *(("teacher",) if view.teacher is not None else ()), "student")
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(row[name])}</td>' for name in heads)}</tr>" for row in rows)
    table = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table class="figures">{table}</table></div>'


def texts_hint(view: RunView) -> str:
    """What the table shows."""
    other = "its label" if view.teacher is None else "its teacher"
    return f"Of the test split, the texts on which the student agrees least with {other}, and how sure each is."


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return escape(value)
    label, share = value
    return f"{escape(str(label))} {100 * float(share):.0f} %"
