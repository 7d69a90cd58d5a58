"""What the best student takes for what, as data for a figure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from results.report.sections import best_student
from results.view import RunView


@dataclass(frozen=True)
class Confusion:
    """``counts`` of test samples, a row a true class and a column an answer; ``classes`` is how many there are."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    classes: int

    @property
    def shares(self) -> list[list[float]]:
        """Of the samples of each class that are shown."""
        return [[count / max(1, sum(row)) for count in row] for row in self.counts]


def confusion_of(view: RunView, run: Path) -> Confusion | None:
    """That of the best student; None where it has none."""
    best = best_student(view)
    path = run / best.files.get("confusion", "") if best is not None else run
    if not path.is_file():
        return None
    told = json.loads(path.read_text(encoding="utf-8"))
    return Confusion(tuple(told["labels"]), tuple(map(tuple, told["counts"])), told["classes"])


def confusion_hint(found: Confusion) -> str:
    """What the figure shows."""
    part = f" The {len(found.labels)} of {found.classes} classes with the most mistakes are shown."
    return "Of the test split: a row is a class, a column what the best student says of its samples." + part * (
        len(found.labels) < found.classes
    )
