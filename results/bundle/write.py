"""From a student of a run to a folder that its device can run with nothing of ours installed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from results.bundle import boxes, bytepair, continuation, masks, runner, sound, wordpiece
from results.bundle.manifest import manifest, takes
from results.bundle.program import Machine, add_program
from results.bundle.readme import make_readme
from results.candidate import Student
from results.measurement import METRICS, Measurement
from results.view import RunView
from understudy import BundleError

LIBRARY, ONNX = "student.so", "student.onnx"
"""The compiled library and its ONNX twin."""
ONNX_WEIGHTS = "student.onnx.data"
"""What several ONNX twins of a student have in common: their weights."""
_PINNED = ("apache-tvm", "apache-tvm-ffi")
_RANGES = ("numpy>=1.26", "pillow>=10")
"""What any version serves for, so that a device's older Python finds one."""
_NEEDED: Mapping[str, Mapping[str, str]] = {
    "texts": {"vocabulary": wordpiece.VOCABULARY},
    "questions": {"vocabulary": wordpiece.VOCABULARY},
    "language": {
        "vocabulary": bytepair.PIECES,
        "prefill_onnx": "prefill.onnx",
        "onnx_weights": ONNX_WEIGHTS,
    },
}
"""By what a student takes, further files of it that a bundle holds, and their names there."""
_BESIDE: Mapping[str, tuple[ModuleType, ...]] = {
    "texts": (wordpiece,),
    "questions": (wordpiece,),
    "language": (bytepair, continuation),
    "recordings": (sound,),
    "masks": (masks,),
    "boxes": (boxes,),
}
"""By what a student takes, modules beside the runner."""

MakeManifest = Callable[[Mapping[str, str]], Mapping[str, Any]]
"""From the SHA-256 of the bundle's files by name to its manifest."""


def write_bundle(
    view: RunView,
    run: Path,
    student: Student,
    folder: Path,
    with_program: bool = False,
    more: Mapping[str, Path] = MappingProxyType({}),
) -> Path:
    """Write the bundle of a student of the view, whose run lies in ``run``, into a new folder; returns it.

    ``with_program`` adds a program that needs no Python, ``more`` other files by their name there. The folder
    appears complete or not at all. Raises ``BundleError`` when it exists, when the run lacks a file of the
    student, or when it cannot be written or its program not be built.
    """
    facts, sources = view.facts, dict(more)
    kind = takes(student.preprocess)
    needed = {"library": LIBRARY, "onnx": ONNX, **_NEEDED.get(kind, {})}
    for what, name in needed.items():
        sources[name] = run / student.files.get(what, "")
        if not sources[name].is_file():
            raise BundleError(f"student #{student.number} has no {name} in {run}: restore it, or search again")
    if with_program and kind != "images":
        raise BundleError(f"the program without Python takes images, not {kind}: deploy with --runtime python")
    for module in _BESIDE.get(kind, ()):
        path = Path(str(module.__file__))
        sources[path.name] = path
    machine = Machine.of_profile(facts["profile"]) if with_program else None
    title = f"{facts.get('name', 'run')}, student {student.number}"
    if kind == "language" and "test_accuracy" in student.measurements:
        title += f": perplexity {student.measurements['test_accuracy']} a token"
    readme = make_readme(title, kind, machine)
    return write_folder(
        folder, sources, readme, facts.get("versions", {}), lambda sums: manifest(student, facts, sums), machine
    )


def write_network_bundle(
    folder: Path,
    sources: Mapping[str, Path],
    versions: Mapping[str, str],
    make_manifest: MakeManifest,
    name: str,
    machine: Machine | None = None,
) -> Path:
    """Write the bundle of a compiled network that is no student; see ``write_folder``."""
    readme = make_readme(name, "arrays", machine)
    return write_folder(folder, sources, readme, versions, make_manifest, machine)


def refuse_existing(folder: Path) -> None:
    """Raise ``BundleError`` when there is such a folder already."""
    if folder.exists():
        raise BundleError(f"{folder} exists: remove it, or name another folder with --to")


def write_folder(
    folder: Path,
    sources: Mapping[str, Path],
    readme: str,
    versions: Mapping[str, str],
    make_manifest: MakeManifest,
    machine: Machine | None = None,
) -> Path:
    """Write a new folder of the sources by name, the runner, and a manifest; complete or not at all.

    With a ``machine``, it holds a program for it too. Raises ``BundleError`` when it exists or cannot be written.
    """
    refuse_existing(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise BundleError(f"cannot write {folder}: {error.strerror}") from error
    try:
        _fill(made, sources, readme, versions)
        if machine is not None:
            add_program(made, machine)
        _seal(made, make_manifest)
        made.chmod(0o755)
        made.rename(folder)
    except OSError as error:
        raise BundleError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def select_student(
    students: Sequence[Student],
    *,
    max_latency: float | None = None,
    max_size: float | None = None,
    number: int | None = None,
) -> Student:
    """The most accurate student of the front within the limits (seconds, bytes), or the one of that number.

    A latency is within its limit when its upper quartile is, so that the limit holds when it is measured
    again. Raises ``BundleError``, naming the nearest student, when none fits.
    """
    chosen = _numbered(students, number)
    limits = {"latency": max_latency, "size": max_size}
    asked = {name: limit for name, limit in limits.items() if limit is not None}
    fitting = [student for student in chosen if _excess(student, asked) <= 0]
    if not fitting:
        nearest = min(chosen, key=lambda student: _excess(student, asked))
        wanted = " and ".join(f"{METRICS[name].heading} {_text(name, limit)}" for name, limit in asked.items())
        reached = " and ".join(f"{METRICS[name].heading} {_text(name, _upper(nearest, name))}" for name in asked)
        raise BundleError(
            f"no student is within {wanted}: the nearest, #{nearest.number}, has {reached}. Raise the limit, "
            "or search with it as the budget"
        )
    return max(fitting, key=lambda student: (_accuracy(student), -student.number))


def _numbered(students: Sequence[Student], number: int | None) -> list[Student]:
    """The students to choose from: the one of that number, or those of the front."""
    if not students:
        raise BundleError("the run has no students yet: let it end with `understudy resume`")
    known = ", ".join(f"#{student.number}" for student in students)
    if number is not None:
        chosen = [student for student in students if student.number == number]
        if not chosen:
            raise BundleError(f"the run has no student #{number}: choose one of {known}")
        return chosen
    chosen = [student for student in students if student.on_front]
    if not chosen:
        raise BundleError(f"no student of the run is on its front and within its budget: name one of {known}")
    return chosen


def _excess(student: Student, limits: Mapping[str, float]) -> float:
    """The largest overrun among the limits, relative to the limit; at or below 0 all hold."""
    return max((_upper(student, name) / limit - 1 for name, limit in limits.items()), default=0.0)


def _upper(student: Student, name: str) -> float:
    figure = student.measurements.get(name)
    if figure is None:
        raise BundleError(f"student #{student.number} has no {METRICS[name].heading}: choose without that limit")
    return figure.value if figure.high is None else figure.high


def _text(name: str, value: float) -> str:
    return str(Measurement(value, METRICS[name].unit))


def _accuracy(student: Student) -> float:
    figure = student.measurements.get("accuracy")
    return -1.0 if figure is None else figure.value


def _fill(made: Path, sources: Mapping[str, Path], readme: str, versions: Mapping[str, str]) -> None:
    for name, source in sources.items():
        shutil.copyfile(source, made / name)
    shutil.copyfile(Path(runner.__file__), made / "run.py")
    pins = [f"{name}=={_version(name, versions)}" for name in _PINNED]
    (made / "requirements.txt").write_text("\n".join([*pins, *_RANGES, ""]))
    (made / "README.md").write_text(readme)


def _seal(made: Path, make_manifest: MakeManifest) -> None:
    """Write the manifest of what the folder holds, and all of it to the disk."""
    sums = {path.name: runner.sha256(path) for path in sorted(made.iterdir())}
    text = json.dumps(make_manifest(sums), indent=1, ensure_ascii=False)
    (made / "manifest.json").write_text(text + "\n", encoding="utf-8")
    for path in made.iterdir():
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _version(package: str, recorded: Mapping[str, str]) -> str:
    """The version that the run was made with, or the installed one."""
    try:
        return recorded.get(package) or metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise BundleError(
            f"{package} is not installed, so a bundle cannot name its version: install it"
        ) from error
