"""A run as it is looked at: the record and its facts, read once, with the front worked out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from results.budget import Budget
from results.candidate import Candidate, Student
from results.finalists import compared_for
from results.front import pareto_front
from results.goals import facts_on, goal_on, target_names
from results.measurement import Measurement, Unit, unit_of
from results.store import RunStore


@dataclass(frozen=True)
class TeacherFacts:
    """What the record knows of the teacher, or of its assistant; a figure that was not taken is None.

    ``accuracy`` is on the test split, ``val_accuracy`` on the validation split.
    """

    name: str
    accuracy: Measurement | None
    val_accuracy: Measurement | None
    latency: Measurement | None
    size: Measurement | None
    parameters: int | None


@dataclass(frozen=True)
class RunView:
    """One run: its candidates, finalists and facts; ``front`` is best first in the first objective.

    Of a run with several ``targets``, as it is on one of them, ``target``; both are empty names otherwise.
    """

    name: str
    candidates: tuple[Candidate, ...]
    students: tuple[Student, ...]
    front: tuple[Candidate, ...]
    objectives: tuple[str, ...]
    budget: Budget
    teacher: TeacherFacts | None
    assistant: TeacherFacts | None
    facts: Mapping[str, Any]
    target: str = ""
    targets: tuple[str, ...] = ("",)

    @property
    def metric(self) -> str:
        """What accuracies are: the share of samples answered right, or another figure by name."""
        return str(self.facts.get("task", {}).get("metric", "accuracy"))


def read_view(store: RunStore, target: str = "") -> RunView:
    """The run of a store as it stands, finished or not, on one of its targets where it has several.

    Raises ``RunError`` when it cannot be read.
    """
    recorded = store.facts()
    goal = goal_on(recorded, target)
    facts = facts_on(recorded, target)
    candidates = [goal.seen(candidate) for candidate in store.candidates()]
    objectives, budget = goal.objectives, goal.budget
    return RunView(
        name=str(facts.get("name") or store.path.resolve().name) + (f" on {target}" if target else ""),
        candidates=tuple(candidates),
        students=tuple(compared_for(store.students(), goal) if target else store.students()),
        front=tuple(pareto_front(candidates, objectives, budget)),
        objectives=objectives,
        budget=budget,
        teacher=teacher_of(facts),
        assistant=teacher_of(facts, "assistant"),
        facts=facts,
        target=target,
        targets=target_names(recorded),
    )


def goals(facts: Mapping[str, Any]) -> tuple[tuple[str, ...], Budget]:
    """The objectives and the budget of a run's facts."""
    return tuple(facts.get("objectives") or ("accuracy", "latency")), Budget(facts.get("budget") or {})


def taught_of_front(facts: Mapping[str, Any]) -> tuple[int, int] | None:
    """How many students of the search's front were fully taught, of how many on it; None where not recorded."""
    found = facts.get("finalists_of_front")
    return (int(found[0]), int(found[1])) if found else None


def teacher_of(run_facts: Mapping[str, Any], role: str = "teacher") -> TeacherFacts | None:
    """The teacher, or its ``assistant``, of a run's facts; None when they name none."""
    facts = run_facts.get(role)
    if not facts:
        return None
    parameters, unit = facts.get("parameters"), unit_of(str(run_facts.get("task", {}).get("metric")))
    return TeacherFacts(
        name=str(facts.get("name", role)),
        accuracy=_figure(facts.get("accuracy"), unit),
        val_accuracy=_figure(facts.get("val_accuracy"), unit),
        latency=_figure(facts.get("latency"), "s"),
        size=_figure(facts.get("size"), "byte"),
        parameters=None if parameters is None else int(parameters),
    )


def differing(choices: Sequence[Mapping[str, object]]) -> list[str]:
    """The names whose values are not the same in all the choices (all names of a single one)."""
    names = list(dict.fromkeys(name for choice in choices for name in choice))
    return [name for name in names if len(choices) < 2 or len({choice.get(name) for choice in choices}) > 1]


def _figure(value: Any, unit: Unit) -> Measurement | None:
    """A figure of the facts, a plain number or a measurement."""
    if value is None:
        return None
    return Measurement.from_json(value) if isinstance(value, Mapping) else Measurement(float(value), unit)
