"""The record of a run on disk: appended safely, readable after a kill at any instant.

Layout of ``results/runs/<name>/``::

    config.yaml        what was asked for; `understudy search --config FILE --name NEW` runs it again
    run.json           facts of the run: teacher, profile, space, versions, how it ended
    candidates.jsonl   one line a finished candidate, appended and synced to disk
    rungs.jsonl        one line each time a candidate's teaching was paused
    study.log          the Optuna study (journal file; `optuna-dashboard study.log` opens it)
    confirmed.json     figures of candidates that a board corrected afterwards (`understudy confirm`)
    supernet/          the network that holds all students, where there is one (`evaluators/supernet/kept.py`)
    students.json      the finalists with their figures
    students/<n>/      weights.safetensors, student.onnx, student.so; of plain text also prefill.onnx and
                       student.onnx.data, the weights of both ONNX files
    report.html, front.png, front.svg
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from results.candidate import Candidate, Student, read_measurements
from results.measurement import Measurement
from understudy import RunError

_FULL = (errno.ENOSPC, errno.EDQUOT)


class RunStore:
    """The folder of one run. A line of the record is complete on disk before ``append`` returns.

    Raises ``RunError`` when the folder cannot be written (full disk, no permission) or read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._record, self._rungs = path / "candidates.jsonl", path / "rungs.jsonl"

    @staticmethod
    def create(path: Path) -> RunStore:
        """A new run folder; raises ``RunError`` when one is there already.

        A folder that a kill left before its run had a configuration is none, and is taken.
        """
        if any((path / name).exists() for name in ("config.yaml", "candidates.jsonl")):
            raise RunError(
                f"the run folder {path} exists: continue it with `understudy resume {path}`, "
                "or choose another with --name"
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(path, error) from error
        return RunStore(path)

    @staticmethod
    def open(path: Path) -> RunStore:
        """An existing run folder; raises ``RunError`` when it holds no run."""
        if not (path / "config.yaml").is_file():
            raise RunError(f"{path} is not a run folder (no config.yaml): name one made by `understudy search`")
        return RunStore(path)

    def append(self, *candidates: Candidate) -> None:
        """Add finished candidates to the record, synced to disk together."""
        _append(self._record, candidates, sync=True)

    def append_paused(self, candidate: Candidate) -> None:
        """Write down how far a candidate's teaching has come, whose state is ``paused``.

        Not synced, which would be the better part of a driver's work for many workers: no killed process takes a
        line with it, and if the power does, the candidate comes to the same rung again at once.
        """
        _append(self._rungs, [candidate], sync=False)

    def paused(self) -> list[Candidate]:
        """Every pause of a candidate's teaching, in the order in which they came."""
        return _read(self._rungs)

    def candidates(self) -> list[Candidate]:
        """Every finished candidate in order of its number; torn lines are passed over."""
        found: dict[int, Candidate] = {}
        for candidate in _read(self._record):
            found.setdefault(candidate.number, candidate)
        confirmed = self.confirmed()
        return [_corrected(found[number], confirmed.get(number, {})) for number in sorted(found)]

    def write_confirmed(self, figures: Mapping[int, Mapping[str, Measurement]]) -> None:
        """Add figures of candidates that take the place of those that the search had, atomically."""
        merged = {**self.confirmed()}
        for number, corrected in figures.items():
            merged[number] = {**merged.get(number, {}), **corrected}
        plain = {
            str(number): {name: figure.to_json() for name, figure in corrected.items()}
            for number, corrected in sorted(merged.items())
        }
        self._write_json("confirmed.json", plain)

    def confirmed(self) -> dict[int, dict[str, Measurement]]:
        """The corrected figures, by candidate and name."""
        held = self._read_json("confirmed.json", {})
        return {int(number): read_measurements(figures) for number, figures in held.items()}

    def write_students(self, students: Sequence[Student]) -> None:
        """Replace the list of finalists, atomically."""
        self._write_json("students.json", [student.to_json() for student in students])

    def students(self) -> list[Student]:
        """The finalists, or an empty list before the end of a search."""
        return [Student.from_json(data) for data in self._read_json("students.json", [])]

    def write_facts(self, facts: Mapping[str, Any]) -> None:
        """Replace the facts of the run (``run.json``), atomically."""
        self._write_json("run.json", facts)

    def facts(self) -> dict[str, Any]:
        """The facts of the run, or an empty dict before they are known."""
        return dict(self._read_json("run.json", {}))

    def write_text(self, name: str, text: str) -> None:
        """Replace a text file of the run, atomically: the old one or the new one, never half of it."""
        write_atomically(self.path / name, text.encode())

    def _write_json(self, name: str, data: Any) -> None:
        self.write_text(name, json.dumps(data, indent=1, ensure_ascii=False) + "\n")

    def _read_json(self, name: str, missing: Any) -> Any:
        path = self.path / name
        if not path.exists():
            return missing
        try:
            return json.loads(path.read_text())
        except json.JSONDecodeError as error:
            raise RunError(f"{path} cannot be read ({error}): restore it, or start the run anew") from error


def _append(path: Path, candidates: Iterable[Candidate], sync: bool) -> None:
    """Add lines; a torn last one, left by a kill, is closed first so that it swallows none."""
    line = b"".join(json.dumps(each.to_json(), ensure_ascii=False).encode() + b"\n" for each in candidates)
    try:
        with path.open("ab+") as record:
            if record.tell() and not _ends_with_newline(record.fileno(), record.tell()):
                line = b"\n" + line
            record.write(line)
            record.flush()
            if sync:
                os.fsync(record.fileno())
    except OSError as error:
        raise unwritable(path, error) from error


def _read(path: Path) -> list[Candidate]:
    """The candidates of a file's lines; none where it is missing, and torn lines are passed over."""
    found = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            found.append(Candidate.from_json(json.loads(line)))
        except (json.JSONDecodeError, UnicodeDecodeError):
            continue
    return found


def _corrected(candidate: Candidate, figures: Mapping[str, Measurement]) -> Candidate:
    return replace(candidate, measurements={**candidate.measurements, **figures}) if figures else candidate


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a kill leaves the old one or the new one; raises ``RunError`` when it cannot."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise unwritable(path, error) from error


def _ends_with_newline(descriptor: int, size: int) -> bool:
    return os.pread(descriptor, 1, size - 1) == b"\n"


@contextmanager
def disk_room(path: Path) -> Iterator[None]:
    """Around work that writes ``path``: a full disk or quota is a ``RunError``, other faults stay as they are."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise unwritable(path, error) from error
        raise


def unwritable(path: Path, error: OSError) -> RunError:
    """What to tell a user of a file that could not be written."""
    if error.errno in _FULL:
        return RunError(
            f"no space left to write {path}: free some, then `understudy resume` goes on with what the run has"
        )
    return RunError(f"cannot write {path}: {error.strerror}")
