"""Pictures of what the best student does, inside the page."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from results.report.sections import best_student
from results.view import RunView


def examples_html(view: RunView, run: Path) -> str:
    """The best student's pictures as HTML; empty where it has none."""
    best = best_student(view)
    path = run / best.files.get("examples", "") if best is not None else run
    if not path.is_file():
        return ""
    picture = b64encode(path.read_bytes()).decode("ascii")
    return f'<img class="examples" alt="what is given and what is answered" src="data:image/png;base64,{picture}">'


def examples_hint(view: RunView) -> str:
    """What the pictures show."""
    first = "the image with its boxes as given" if view.metric == "mAP" else "the image, its mask as given"
    if view.teacher is None:
        return f"From left to right: {first}, the student's. Of the test split, those it gets least of."
    return (
        f"From left to right: {first}, the teacher's, the student's. Of the test split, those they agree on least."
    )
