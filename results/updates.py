"""What became of a run's students later: their versions, of which the newest is deployed until it is rolled back.

Layout, in the run's folder::

    versions/index.json     every version, and by student the one in use (0 or absent: the search's own)
    versions/<n>/           weights.safetensors, student.onnx, student.so, replay.npz of version n

A version's folder is complete before the index names it, and is never changed; so whatever happens to an update,
the versions before it are whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from results.candidate import Student
from results.goals import Goal
from results.measurement import Measurement
from results.store import write_atomically
from results.table import ABSENT, figure_text
from results.view import RunView
from understudy import RunError

FOLDER = "versions"
REPLAY = "replay.npz"
"""The file of earlier images that a student is shown again, and its name among a student's files."""


@dataclass(frozen=True)
class Version:
    """A student after it learnt later data.

    ``student`` has its figures and files as a run's students do, ``before`` being those of ``parent`` (a version,
    or 0 for the search's own student); ``labels`` are its classes, ``data`` what was named, ``fingerprint`` the
    data that it can be judged on. ``kept`` are shares of test images answered right: ``earlier_before``,
    ``earlier_after``, ``later_before``, ``later_after``, None where not known. ``replayed`` is the number of
    earlier images that it was shown; ``drift`` what was said of the new ones; ``when`` is UTC, ISO 8601.
    """

    number: int
    parent: int
    student: Student
    labels: tuple[str, ...]
    data: str
    fingerprint: str
    kept: Mapping[str, float | None]
    replayed: int
    drift: Mapping[str, Any]
    when: str

    def to_json(self) -> dict[str, Any]:
        """Plain data, the inverse of ``from_json``."""
        return {**asdict(self), "student": self.student.to_json()}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Version:
        """The version written by ``to_json``."""
        parts = {"student": Student.from_json(data["student"]), "labels": tuple(data["labels"])}
        return Version(**{**data, **parts})


class Versions:
    """The versions of a run's students. Raises ``RunError`` when they cannot be read or written."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.folder = run / FOLDER

    def all(self) -> list[Version]:
        """Every version, in order."""
        return [Version.from_json(each) for each in self._index()["versions"]]

    def current(self, student: int) -> Version | None:
        """The version in use of a student of the run; None where that is the search's own."""
        number = self._index()["current"].get(str(student), 0)
        return next((version for version in self.all() if version.number == number), None)

    def next_number(self) -> int:
        """The number that a new version gets."""
        return 1 + max((version.number for version in self.all()), default=0)

    def add(self, version: Version, draft: Path) -> None:
        """Make a complete draft folder beside the others a version, and the one in use."""
        folder = self.folder / str(version.number)
        shutil.rmtree(folder, ignore_errors=True)  # left by a kill before the index named it
        try:
            draft.rename(folder)
        except OSError as error:
            raise RunError(f"cannot write {folder}: {error.strerror}") from error
        index = self._index()
        current = {**index["current"], str(version.student.number): version.number}
        self._write({"versions": [*index["versions"], version.to_json()], "current": current})

    def roll_back(self, student: int) -> int:
        """Put the version before the one in use to use again (0: the search's own); its number.

        Raises ``RunError`` when there is none before it.
        """
        now = self.current(student)
        if now is None:
            raise RunError(
                f"student #{student} of {self.run} is as the search made it: there is nothing to roll back"
            )
        index = self._index()
        self._write({**index, "current": {**index["current"], str(student): now.parent}})
        return now.parent

    def _index(self) -> dict[str, Any]:
        path = self.folder / "index.json"
        if not path.exists():
            return {"versions": [], "current": {}}
        try:
            return dict(json.loads(path.read_text()))
        except (OSError, json.JSONDecodeError) as error:
            raise RunError(f"{path} cannot be read ({error}): restore it, or remove {self.folder}") from error

    def _write(self, index: Mapping[str, Any]) -> None:
        write_atomically(self.folder / "index.json", json.dumps(index, indent=1, ensure_ascii=False).encode())


def in_use(view: RunView, run: Path, student: Student) -> tuple[RunView, Student]:
    """A student as it is deployed, and the view with its classes: its version in use where it has one."""
    version = Versions(run).current(student.number)
    if version is None:
        return view, student
    task = {**view.facts["task"], "labels": list(version.labels)}
    goal = Goal(view.target, view.objectives, view.budget)
    return replace(view, facts={**view.facts, "task": task}), goal.seen(version.student)


def version_table(versions: Iterable[Version]) -> Table:
    """What each version learnt and forgot, test images answered right before and after."""
    table = Table(title="Versions of students", title_justify="left")
    shown = ("earlier images before", "after", "new images before", "after")
    headings = ("", "data", "classes", *shown, "latency", "size")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("", "data") else "right")
    for version in versions:
        order = ("earlier_before", "earlier_after", "later_before", "later_after")
        shares = [_share(version.kept.get(name)) for name in order]
        cost = [figure_text(version.student.measurements.get(name)) for name in ("latency", "size")]
        name = f"student #{version.student.number}, version {version.number}"
        table.add_row(name, Path(version.data).name, str(len(version.labels)), *shares, *cost)
    return table


def _share(value: float | None) -> str:
    return ABSENT if value is None else str(Measurement(value, "share"))
