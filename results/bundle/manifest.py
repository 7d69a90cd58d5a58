"""What a bundle says of itself: ``manifest.json``, obeyed by the bundle's runner.

Format 1::

    format        1
    name          the run and the number of the student
    input         shape (1, C, R, R), dtype, layout
    output        shape (1, labels), dtype, meaning
    preprocess    channels, size, mean, std: what is done to an image (``runner.preprocess``)
    labels        names of the outputs, in order
    figures       by metric: value, unit, quartiles, repeats, source, and how it was obtained
    choice        the architecture, by the names of its space
    target        profile, isa, features (flags of /proc/cpuinfo), threads, mcpu
    versions      of what made it
    files         SHA-256 by file name
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from results.bundle.runner import FORMAT
from results.candidate import Student
from understudy import BundleError

_HOW: Mapping[str, str] = {
    "accuracy": "share of the validation split answered right, after full training",
    "test_accuracy": "share of the test split answered right; the search never saw that split",
    "scratch_accuracy": "as test_accuracy, for the same network taught without the teacher",
    "agreement": "share of the test split on which student and teacher give the same answer",
    "latency": "median time of a call, numpy in and numpy out, on the target's profile; `run.py bench` repeats it",
    "size": "the compiled library as a file, weights included",
    "memory": "planned by the compiler: input, weights, activations and output held at once",
}
_TARGET = ("isa", "features", "threads", "mcpu")


def manifest(student: Student, facts: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """The manifest of a student; ``files`` maps the bundle's file names to their SHA-256.

    Raises ``BundleError`` when the run's facts or the student lack what the runner needs.
    """
    try:
        preprocess = {name: student.preprocess[name] for name in ("channels", "size", "mean", "std")}
        labels = list(facts["task"]["labels"])
        target = {"profile": facts["profile"]["name"]} | {name: facts["profile"][name] for name in _TARGET}
    except KeyError as error:
        raise BundleError(
            f"the record of student {student.number} has no {error}: it was made by another version, "
            "so search again, or deploy with that version"
        ) from error
    side = preprocess["size"]
    return {
        "format": FORMAT,
        "name": f"{facts.get('name', 'run')}-{student.number}",
        "input": {"shape": [1, preprocess["channels"], side, side], "dtype": "float32", "layout": "NCHW"},
        "output": {"shape": [1, len(labels)], "dtype": "float32", "meaning": "logits"},
        "preprocess": preprocess,
        "labels": labels,
        "figures": {
            name: {**figure.to_json(), "how": _HOW[name]}
            for name, figure in student.measurements.items()
            if name in _HOW
        },
        "choice": dict(student.choice),
        "target": target,
        "versions": dict(facts.get("versions", {})),
        "files": dict(files),
    }
