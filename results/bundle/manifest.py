"""What a bundle says of itself: ``manifest.json``, obeyed by the bundle's runner.

Format 2 (1 had a single ``input`` and ``output``)::

    format        2
    name          the run and the number of the student, or the compiled file
    inputs        of each: name, shape, dtype; layout of images; of whole numbers, what they are ``below``
    outputs       of each: name, shape, dtype; meaning where it is known
    preprocess    of students of images: channels, size, mean, std, where they make masks the places a side of the
                  answer (grid), where they find boxes of each of its maps, and the channels beside classes
                  (boxes); of
                  vectors: features, mean, std, of recordings their sample_rate (Hz) too; of texts: length,
                  vocabulary (its size), lowercase; of pictures with questions those of both; of
                  texts to go on with: window (tokens seen at once), vocabulary, cache (its shape); what
                  is done to one (``runner.preprocess``)
    labels        of students: names of the outputs, in order
    figures       by metric: value, unit, quartiles, repeats, source, and how it was obtained
    quantised     of students of integers: bits of the weights, layers in integers and in float32, agreement
                  of the compiled student with the simulated one
    choice        of students: the architecture, by the names of its space
    target        profile, isa, features (flags of /proc/cpuinfo), threads, mcpu; gpu (sm_87) where it runs there
    versions      of what made it
    files         SHA-256 by file name
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from results.bundle.runner import FORMAT
from results.candidate import Student
from results.measurement import Measurement
from results.tensors import TensorSpec
from understudy import BundleError

_HOW: Mapping[str, str] = {
    "first_token": "as latency, of the program that reads a prompt",
    "accuracy": "share of the validation split answered right, after full training",
    "test_accuracy": "share of the test split answered right; the search never saw that split",
    "scratch_accuracy": "as test_accuracy, for the same network taught without the teacher",
    "half_accuracy": "as accuracy, with the rounding of weights and of every result to float16 simulated",
    "agreement": "share of the test split on which student and teacher give the same answer",
    "latency": "median time of a call, numpy in and numpy out, on the target's profile; `run.py bench` repeats it",
    "size": "the compiled library as a file, weights and all programs included",
    "float_latency": "as latency, of the same network in float32",
    "float_size": "as size, of the same network in float32",
    "difference": "largest difference to the original network, as a share of its largest output",
    "energy": "the latency times the power that the profile gives for the whole device at work",
    "memory": "planned by the compiler: input, weights, activations and output held at once",
}
Takes = Literal["images", "vectors", "recordings", "texts", "language", "questions", "masks", "boxes"]
_TEXTS = ("length", "vocabulary", "lowercase")
_KEPT: Mapping[Takes, tuple[str, ...]] = {
    "images": ("channels", "size", "mean", "std"),
    "vectors": ("features", "mean", "std"),
    "recordings": ("features", "mean", "std", "sample_rate"),
    "texts": _TEXTS,
    "language": ("window", "vocabulary", "cache"),
    "questions": ("channels", "size", "mean", "std", *_TEXTS),
    "masks": ("channels", "size", "mean", "std", "grid"),
    "boxes": ("channels", "size", "mean", "std", "grid", "boxes"),
}
_TARGET = ("isa", "features", "threads", "mcpu")


def network_manifest(
    name: str,
    inputs: Sequence[Mapping[str, Any]],
    outputs: Sequence[TensorSpec],
    figures: Mapping[str, Measurement],
    profile: Mapping[str, Any],
    versions: Mapping[str, str],
    files: Mapping[str, str],
) -> dict[str, Any]:
    """The manifest of a network that is no student: what it is for is not known, so it takes and gives arrays."""
    return {
        "format": FORMAT,
        "name": name,
        "inputs": [dict(each) for each in inputs],
        "outputs": [each.to_json() for each in outputs],
        "figures": _figures(figures),
        "target": _target(profile),
        "versions": dict(versions),
        "files": dict(files),
    }


def _target(profile: Mapping[str, Any]) -> dict[str, Any]:
    gpu = profile.get("gpu")
    target = {"profile": profile["name"]} | {fact: profile[fact] for fact in _TARGET}
    return target if gpu is None else target | {"gpu": gpu["arch"]}


def _figures(
    measurements: Mapping[str, Measurement],
    metric: str = "accuracy",
    preprocess: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Each figure with how it was obtained; accuracies of a task with another ``metric`` are that.

    Times of students that go on with texts are for the window of ``preprocess``.
    """
    told = {name: {**figure.to_json(), "how": _HOW[name]} for name, figure in measurements.items() if name in _HOW}
    for name in ("accuracy", "test_accuracy") if metric != "accuracy" else ():
        if name in told:
            split = "test" if name.startswith("test") else "validation"
            inverse = "one over the " if metric == "perplexity" else ""
            told[name]["how"] = f"{inverse}{metric} on the {split} split, after full training"
    for name in ("latency", "first_token") if "window" in preprocess else ():
        if name in told:
            told[name]["how"] += f"; of a token, {preprocess['window']} tokens in sight"
    return told


def manifest(student: Student, facts: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """The manifest of a student; ``files`` maps the bundle's file names to their SHA-256.

    Raises ``BundleError`` when the run's facts or the student lack what the runner needs.
    """
    try:
        preprocess = {name: student.preprocess[name] for name in _KEPT[takes(student.preprocess)]}
        labels = list(facts["task"]["labels"])
        if takes(preprocess) == "boxes" and isinstance(preprocess["grid"], int):
            raise BundleError(
                f"student {student.number} finds boxes on one map, as an earlier version made it: search again, "
                "or deploy with that version"
            )
        target = _target(facts["profile"])
    except KeyError as error:
        raise BundleError(
            f"the record of student {student.number} has no {error}: it was made by another version, "
            "so search again, or deploy with that version"
        ) from error
    return {
        "format": FORMAT,
        "name": f"{facts.get('name', 'run')}-{student.number}",
        "inputs": input_specs(preprocess),
        "outputs": _outputs(preprocess, len(labels)),
        "preprocess": preprocess,
        "labels": labels,
        "figures": _figures(student.measurements, str(facts["task"].get("metric", "accuracy")), preprocess),
        "choice": dict(student.choice),
        **({"quantised": dict(student.quantised)} if student.quantised else {}),
        "target": target,
        "versions": dict(facts.get("versions", {})),
        "files": dict(files),
    }


def _outputs(preprocess: Mapping[str, Any], labels: int) -> list[dict[str, Any]]:
    """A student's logits; of one that goes on with texts also what belongs into its cache at the token's place."""
    if takes(preprocess) != "language":
        shape = _answer(preprocess, labels)
        return [{**TensorSpec("logits", shape, "float32").to_json(), "meaning": "logits"}]
    layers, two, heads, _, size = preprocess["cache"]
    logits = TensorSpec("logits", (1, preprocess["vocabulary"]), "float32").to_json()
    return [{**logits, "meaning": "logits"}, TensorSpec("entry", (layers, two, heads, size), "float32").to_json()]


def _answer(preprocess: Mapping[str, Any], labels: int) -> tuple[int, ...]:
    """The shape of a student's output: (1, labels), a map of them, or of boxes all places of several maps."""
    if "grid" not in preprocess:
        return (1, labels)
    if "boxes" in preprocess:
        return (1, 1 + labels + preprocess["boxes"], sum(side * side for side in preprocess["grid"]), 1)
    return (1, labels, preprocess["grid"], preprocess["grid"])


def takes(preprocess: Mapping[str, Any]) -> Takes:
    """The kind of samples that a student takes, by what is done to one; ``masks`` and ``boxes`` are of images."""
    if "grid" in preprocess:
        return "boxes" if "boxes" in preprocess else "masks"
    if "window" in preprocess:
        return "language"
    if "vocabulary" in preprocess:
        return "questions" if "size" in preprocess else "texts"
    if "sample_rate" in preprocess:
        return "recordings"
    return "vectors" if "features" in preprocess else "images"


def input_specs(preprocess: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A student's inputs, by what is done to a sample: (1, C, R, R), (1, features), (1, length), or two."""
    kind = takes(preprocess)
    if kind == "questions":
        return [_picture("picture", preprocess), _tokens("question", preprocess)]
    if kind == "language":
        token, place = (TensorSpec(name, (1,), "int64").to_json() for name in ("token", "position"))
        return [
            {**token, "below": preprocess["vocabulary"]},
            {**place, "below": preprocess["window"]},
            TensorSpec("cache", tuple(preprocess["cache"]), "float32").to_json(),
        ]
    if kind == "texts":
        return [_tokens("input", preprocess)]
    if kind in ("vectors", "recordings"):
        return [TensorSpec("input", (1, preprocess["features"]), "float32").to_json()]
    return [_picture("input", preprocess)]


def _tokens(name: str, preprocess: Mapping[str, Any]) -> dict[str, Any]:
    spec = TensorSpec(name, (1, preprocess["length"]), "int64")
    return {**spec.to_json(), "below": preprocess["vocabulary"]}


def _picture(name: str, preprocess: Mapping[str, Any]) -> dict[str, Any]:
    shape = (1, preprocess["channels"], preprocess["size"], preprocess["size"])
    return {**TensorSpec(name, shape, "float32").to_json(), "layout": "NCHW"}
