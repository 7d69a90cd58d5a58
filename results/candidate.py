"""A candidate of a search and a student of its front, as they stand in the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from results.measurement import Measurement

TEACHING = "teach."
"""How the names of the choices begin that are no part of the architecture, but of how the student is taught."""
State = Literal["done", "infeasible", "failed", "pruned", "paused"]
"""How a candidate ended; ``paused`` for one that has not: it may still be taught on."""
Value = int | float | str | bool


@dataclass(frozen=True)
class Candidate:
    """One evaluated choice.

    ``number`` counts proposals from 0; ``choice`` maps the names of the space to values; ``key`` is the
    signature of the architecture (equal for equal networks; behind a ``+`` that of the way of teaching, where the
    search chooses it); ``reason`` says why a candidate is not
    ``done``; ``measurements`` holds what was measured before it ended (any of ``METRICS``, and
    ``agreement``: share of validation samples on which it gives the teacher's answer); ``seconds`` is
    where its time went, by stage; ``finished`` is a UTC time, ISO 8601, and ``elapsed`` the seconds the
    search had been running by then (interruptions left out). ``taught_by`` is the way of teaching, as
    ``--distill`` takes it; empty for one that was not taught. ``fidelity`` is below 1 where its accuracy
    is that of a student that had only this share of the search's training.
    """

    number: int
    choice: Mapping[str, Value]
    key: str
    state: State
    reason: str = ""
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    finished: str = ""
    elapsed: float = 0.0
    taught_by: str = ""
    fidelity: float = 1.0

    @property
    def architecture(self) -> str:
        """The part of the key that two networks of the same architecture share, however they are taught."""
        return self.key.partition("+")[0]

    def to_json(self) -> dict[str, Any]:
        """Plain data, the inverse of ``from_json``."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Candidate:
        """The candidate written by ``to_json``."""
        return Candidate(**{**data, "measurements": read_measurements(data["measurements"])})


@dataclass(frozen=True)
class Student:
    """A finalist: a candidate of the front, fully trained, compiled and measured again.

    ``measurements`` holds the figures after the full schedule: ``accuracy`` (validation),
    ``test_accuracy``, ``agreement`` (with the teacher, on test), ``latency``, ``size``, ``memory``, and
    ``scratch_accuracy`` (test, the same student without the teacher) where asked for; ``before`` the
    figures the search had. ``on_front`` is False when the student fell off the front or out of the
    budget, and ``note`` says why. ``files`` maps ``weights``, ``onnx`` and ``library`` to paths inside
    the run folder; ``preprocess`` is what the bundle's runner does to an input; ``taught_by`` is the way of
    teaching, as ``--distill`` takes it. Of a student that computes in integers, ``quantised`` says how
    (``evaluators/quantise/finished.py``), and ``float_latency`` and ``float_size`` are those of the same network
    in float32.
    """

    number: int
    choice: Mapping[str, Value]
    key: str
    measurements: Mapping[str, Measurement]
    before: Mapping[str, Measurement]
    on_front: bool
    note: str
    files: Mapping[str, str]
    preprocess: Mapping[str, Any]
    seconds: Mapping[str, float] = field(default_factory=dict)
    taught_by: str = ""
    quantised: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data, the inverse of ``from_json``."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Student:
        """The student written by ``to_json``."""
        figures = {name: read_measurements(data[name]) for name in ("measurements", "before")}
        return Student(**{**data, **figures})


def read_measurements(data: Mapping[str, Mapping[str, Any]]) -> dict[str, Measurement]:
    """Measurements by name from their plain form."""
    return {name: Measurement.from_json(figure) for name, figure in data.items()}
