"""What a search is after: what its front trades off within which budget, on one target or on several at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from results.budget import Budget
from results.candidate import Candidate, Student
from results.front import hypervolume_of, hypervolume_over_time, pareto_front, scaled_points
from results.hypervolume import exclusive_volume
from results.measurement import HARDWARE, Measurement
from understudy import RunError, unknown_name

LIBRARY = "library"
"""The file of a student that is compiled for a target."""
HALF_ACCURACY = "half_accuracy"
"""The figure of a student for a target that computes in float16: its accuracy on validation there."""
IN_FLOAT = ("float_latency", "float_size")
"""Figures of a student of integers: what the same network costs on the target in float32."""
Recorded = TypeVar("Recorded", Candidate, Student)


@dataclass(frozen=True)
class Goal:
    """The front of one target: its objectives (names of ``METRICS``) and the limits that hold there.

    ``target`` is empty where a search has only one: its figures stand in the record under their plain names,
    those of one among several as ``latency@target``.
    """

    target: str
    objectives: tuple[str, ...]
    budget: Budget

    def name(self, metric: str) -> str:
        """The name in the record of a metric, or of a file, that depends on the target."""
        of_target = (*HARDWARE, *IN_FLOAT, LIBRARY, HALF_ACCURACY)
        return f"{metric}@{self.target}" if self.target and metric in of_target else metric

    def seen(self, entry: Recorded) -> Recorded:
        """A candidate or student of the record as if this target were the only one."""
        if not self.target:
            return entry
        figures = self.figures(entry.measurements)
        if isinstance(entry, Candidate):
            return replace(entry, measurements=figures)
        files = {name.removesuffix(f"@{self.target}"): path for name, path in entry.files.items()}
        return replace(entry, measurements=figures, before=self.figures(entry.before), files=files)

    def figures(self, measurements: Mapping[str, Measurement]) -> dict[str, Measurement]:
        """The figures of this target under their plain names, and those of no target."""
        if not self.target:
            return dict(measurements)
        suffix = f"@{self.target}"
        return {
            name.removesuffix(suffix): figure
            for name, figure in measurements.items()
            if "@" not in name or name.endswith(suffix)
        }

    def front(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """The front on this target of candidates of the record, with the figures seen there."""
        return pareto_front(map(self.seen, candidates), self.objectives, self.budget)

    def violation(self, measurements: Mapping[str, Measurement]) -> str | None:
        """The limits that a record's figures break on this target, or None."""
        broken = self.budget.violation(self.figures(measurements))
        return f"on {self.target}: {broken}" if broken and self.target else broken


@dataclass(frozen=True)
class Goals:
    """The goals of a search, one for each target. A candidate counts that is within the limits of any of them."""

    each: tuple[Goal, ...]

    @property
    def objectives(self) -> tuple[str, ...]:
        """All that the sampler trades off, by the names of the record; accuracy is one for all targets."""
        return tuple(dict.fromkeys(goal.name(metric) for goal in self.each for metric in goal.objectives))

    def excesses(self, measurements: Mapping[str, Measurement]) -> dict[str, float]:
        """How far each limit is overrun, relative to it; with several targets, by ``budget`` on the best of them.

        A figure that was not measured counts as neither over nor under.
        """
        if len(self.each) == 1:
            (goal,) = self.each
            over = goal.budget.excess(measurements)
            return {name: over.get(name, 0.0) for name in goal.budget.limits}
        if not any(goal.budget.limits for goal in self.each):
            return {}
        return {"budget": min(_worst(goal, measurements) for goal in self.each)}

    def violation(self, measurements: Mapping[str, Measurement]) -> str | None:
        """Why the figures are within the limits of no target, or None."""
        broken = [goal.violation(measurements) for goal in self.each]
        return None if None in broken else "; ".join(filter(None, broken))

    def front(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates of the record that are on the front of a target, by number."""
        found = {candidate.number for goal in self.each for candidate in goal.front(candidates)}
        return [candidate for candidate in candidates if candidate.number in found]

    def hypervolume(self, candidates: Sequence[Candidate]) -> float:
        """The hypervolume of the front, the mean over the targets."""
        volumes = [hypervolume_of(map(goal.seen, candidates), goal.objectives, goal.budget) for goal in self.each]
        return sum(volumes) / len(volumes)

    def hypervolume_over_time(self, candidates: Sequence[Candidate]) -> list[float]:
        """The hypervolume after each candidate in the order of their ends, the mean over the targets."""
        each = [
            hypervolume_over_time(map(goal.seen, candidates), goal.objectives, goal.budget) for goal in self.each
        ]
        return [sum(volumes) / len(volumes) for volumes in zip(*each, strict=True)]

    def finalists(self, candidates: Sequence[Candidate], most: int) -> list[Candidate]:
        """At most ``most`` of the fronts, which together cover most of their hypervolume; by number.

        Each is the one that adds most to those before it, over all targets. Volume has diminishing returns, so
        that this wins nearly as much as the best subset would, and never less than 63 % of it (Guerreiro, Fonseca
        and Paquete, 2016, "Greedy hypervolume subset selection in low dimensions"). What a front would lose
        without each alone says less: of many that lie close together it would miss none.
        """
        left, chosen = self.front(candidates), list[Candidate]()
        points = [scaled_points(map(goal.seen, left), goal.objectives, goal.budget) for goal in self.each]
        references = [(1.0,) * len(goal.objectives) for goal in self.each]

        def added(candidate: Candidate) -> float:
            return sum(
                exclusive_volume(of[candidate.number], [of[it.number] for it in chosen if it.number in of], ends)
                for of, ends in zip(points, references, strict=True)
                if candidate.number in of
            )

        while left and len(chosen) < most:
            chosen.append(max(left, key=added))
            left.remove(chosen[-1])
        return sorted(chosen, key=lambda candidate: candidate.number)


def goals_of(facts: Mapping[str, Any]) -> Goals:
    """The goals of a run's facts."""
    objectives = tuple(facts.get("objectives") or ("accuracy", "latency"))
    targets: Mapping[str, Any] = facts.get("targets") or {"": facts}
    return Goals(
        tuple(Goal(name, objectives, Budget(target.get("budget") or {})) for name, target in targets.items())
    )


def goal_on(facts: Mapping[str, Any], target: str) -> Goal:
    """The goal on one target of a run's facts; raises ``RunError`` when it has none of that name."""
    goals = {goal.target: goal for goal in goals_of(facts).each}
    if target in goals:
        return goals[target]
    known = ", ".join(name for name in goals if name)
    if not known:
        raise RunError(f"the run has one hardware target only, so leave out --profile {target}")
    raise RunError(
        f"{unknown_name('target of the run', target, tuple(goals))}"
        if target
        else f"the run has several hardware targets: name one of {known} with --profile"
    )


def target_names(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """The targets of a run's facts; of a run with only one, a single empty name."""
    return tuple(goal.target for goal in goals_of(facts).each)


def facts_on(facts: Mapping[str, Any], target: str) -> dict[str, Any]:
    """The facts of a run as if the target were its only one (as they are where it has no name)."""
    if not target:
        return dict(facts)
    own = facts["targets"][target]
    shared = {name: fact for name, fact in facts.items() if name != "targets"}
    return {**shared, **own, "teacher": {**(facts.get("teacher") or {}), **own.get("teacher_cost", {})}}


def with_teacher_latency(facts: Mapping[str, Any], target: str, latency: Measurement) -> dict[str, Any]:
    """The facts of a run with another latency of its teacher on a target (its only one where that has no name)."""
    found = {"latency": latency.to_json()}
    own = facts["targets"][target] if target else facts
    cost = {**own.get("teacher_cost", {}), **found}
    if target:
        return {**facts, "targets": {**facts["targets"], target: {**own, "teacher_cost": cost}}}
    return {**facts, "teacher_cost": cost, "teacher": {**(facts.get("teacher") or {}), **found}}


def _worst(goal: Goal, measurements: Mapping[str, Measurement]) -> float:
    return max(goal.budget.excess(goal.figures(measurements)).values(), default=0.0)
