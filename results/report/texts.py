"""Texts, or questions about pictures, on which the best student goes its own way, as a table of the page."""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path
from typing import Any

from results.bundle.runner import TEMPERATURE
from results.report.sections import best_student
from results.view import RunView

_HEADS = {"label": "right answer", "text": "question"}
"""What columns are called where there are pictures."""


def texts_html(view: RunView, run: Path) -> str:
    """The table; empty where the best student has no such texts."""
    return _table(view, run, "texts", ("text", "label"))


def continuations_html(view: RunView, run: Path) -> str:
    """How the best student goes on with texts; empty where it does not."""
    return _table(view, run, "continuations", ("prompt", "text"))


def _table(view: RunView, run: Path, file: str, first: tuple[str, ...]) -> str:
    """The rows of a file of the best student, teacher and student last."""
    best = best_student(view)
    path = run / best.files.get(file, "") if best is not None else run
    if not path.is_file():
        return ""
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    pictured = bool(rows) and "picture" in rows[0]
    heads = (
        *(("picture",) if pictured else ()),
        *(*first, *(("teacher",) if view.teacher is not None else ()), "student"),
    )
    head = "".join(f"<th>{_HEADS.get(name, name) if pictured else name}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(name, row[name])}</td>' for name in heads)}</tr>" for row in rows)
    table = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table class="figures">{table}</table></div>'


def texts_hint(view: RunView) -> str:
    """What the table shows."""
    other = "what is right" if view.teacher is None else "its teacher"
    return f"Of the test split, those on which the student agrees least with {other}, and how sure each is."


CONTINUATIONS = (
    "Beginnings from the test split, how they went on as they were written, and how teacher and student go "
    f"on, each token drawn by its probability at temperature {TEMPERATURE}."
)
"""What the table of continuations shows."""


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if name == "picture":
        return f'<img alt="the picture" src="data:image/png;base64,{re.sub("[^A-Za-z0-9+/=]", "", value)}">'
    if isinstance(value, str):
        return escape(value).replace("\n", "<br>")
    label, share = value
    return f"{escape(str(label))} {100 * float(share):.0f} %"
