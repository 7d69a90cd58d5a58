"""What is known of a run before its search, for its ``run.json``, and what its figures depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from results.store import RunStore
from search.plan import Plan
from search.teacher import answers_of
from understudy import RunError

if TYPE_CHECKING:
    from evaluators.tasks.task import Task
    from evaluators.teachers.teacher import Teacher


def origin_of(plan: Plan, task: Task, teacher: Teacher | None) -> dict[str, str]:
    """What the figures of a run depend on."""
    taught = "none" if teacher is None else teacher.fingerprint
    return {"data": task.fingerprint, "teacher": taught, "processor": _processors(plan)}


def _processors(plan: Plan) -> str:
    return " and ".join(profile.mcpu for profile in plan.profiles)


def check_same(store: RunStore, origin: Mapping[str, str]) -> None:
    """Refuse to go on with a run whose figures depend on something else by now; raises ``RunError``."""
    before = store.facts().get("origin", origin)
    changed = [name for name in origin if before.get(name) != origin[name]]
    if changed and (store.candidates() or store.paused()):
        raise RunError(
            f"the {' and the '.join(changed)} of {store.path} changed since it began, so its figures cannot be "
            "compared any more: restore what changed, or start a new run with --name"
        )


def facts_of(
    plan: Plan, task: Task, teacher: Teacher | None, costs: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """What is known of the run before its search."""
    by_target: dict[str, dict[str, Any]] = {
        goal.target: {
            "profile": asdict(profile),
            "budget": dict(goal.budget.limits),
            **({"board": str(plan.boards(profile))} if plan.boards(profile) else {}),
            "teacher_cost": costs[goal.target],
        }
        for profile, goal in zip(plan.profiles, plan.config.goals.each, strict=True)
    }
    only = by_target.get("", {})
    return {
        "name": plan.run.name,
        "task": {
            "data": plan.config.data,
            "labels": list(task.labels),
            **task.sample,
            "metric": task.metric,
            "counts": dict(task.counts),
        },
        "teacher": {**taught_by(plan, task, teacher), **only.get("teacher_cost", {})},
        **(only or {"targets": by_target}),
        "distill": plan.config.distill or task.distill,
        "methods": list(plan.methods),
        "space": plan.config.space,
        "quantise": plan.config.quantise,
        "objectives": list(plan.config.objectives),
        "seed": plan.config.seed,
    }


def taught_by(plan: Plan, task: Task, teacher: Teacher | None) -> dict[str, Any]:
    """Name and scores of the teacher; nothing where there is none."""
    import numpy as np

    if teacher is None:
        return {}
    outputs = answers_of(teacher, task, 0, plan.cache)
    test, val = (task.score(np.array(outputs.logits(split)), task.targets(split)) for split in ("test", "val"))
    parameters = None if teacher.module is None else sum(p.numel() for p in teacher.module.parameters())
    scores = {"accuracy": test, "val_accuracy": val}
    return {"name": teacher.name, **scores, "parameters": parameters, "latency": None}
