"""How well a supernet ranks students: sub-networks at random, each also taught by itself.

None of that teaching wants the supernet, so that it is done beside the supernet's own, by the workers which that
leaves free. What is known of each sub-network is kept in the supernet's facts as it comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError, RayTaskError

from evaluators.supernet.kept import write_facts
from hw_profiles.host import usable_cores
from search.display import Display
from search.plan import Plan
from search.worker_process import resources, settle_worker
from understudy import TrainError, UnderstudyError

if TYPE_CHECKING:
    from evaluators.workbench import Workbench
    from search.device_actor import Devices
    from spaces.choice import Choice


class Ranking:
    """The sample of a supernet, and how its accuracies rank; ``facts`` are what its ``folder`` says of it so far.

    Raises ``TrainError`` when workers die, and ``UnderstudyError`` for whatever the user must mend.
    """

    def __init__(self, plan: Plan, devices: Devices, folder: Path, facts: Mapping[str, Any]) -> None:
        from evaluators.supernet.sample import sample_choices

        self._plan, self._devices, self._folder, self._facts = plan, devices, folder, dict(facts)
        self._choices = {str(place): choice for place, choice in enumerate(sample_choices(plan.space()))}
        self._taught = _teaching(plan)
        self._held = self._sample_of(facts)
        self._waiting: dict[Any, str] = {}

    def learn(self, facts: Mapping[str, Any]) -> None:
        """Add what is known of the supernet now, and keep it."""
        self._facts |= facts
        self._held |= self._sample_of(facts)
        self._write()

    def beside(self) -> None:
        """Have those taught that were not yet, while the supernet is; hear of those that are. Returns at once."""
        self._ask(self._plan, self._without("trained"))
        self._hear(0.0)

    def ranked(self, plan: Plan, display: Display) -> dict[str, Any]:
        """The facts of the supernet, which ``plan`` has by now, with how well inherited scores rank.

        Where that is too little, also how well fine-tuned sub-networks do. What is known is not measured again.
        """
        self._facts.pop("tuned", None)
        self._complete(plan, "inherited", "how well the supernet ranks, on sub-networks at random", display)
        self._facts |= self._ranks("inherited")
        if not self._facts["trusted"]:
            self._complete(plan, "fine_tuned", "how well they rank when they are fine-tuned", display)
            self._facts["tuned"] = self._ranks("fine_tuned")
        self._write()
        return self._facts

    def _complete(self, plan: Plan, name: str, title: str, display: Display) -> None:
        """Have a figure of all sub-networks but of those whose teaching fails."""
        if not self._without(name):
            return
        with display.stage(title) as advance:
            while missing := self._without(name):
                advance(len(self._choices) - len(missing), len(self._choices))
                self._ask(plan, missing)
                self._hear()

    def _sample_of(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        return dict(facts["sample"]) if facts.get("sample_taught") == self._taught else {}

    def _without(self, name: str) -> list[str]:
        """The places that have not got a figure yet."""
        held = {place: self._held.get(place, {}) for place in self._choices}
        return [place for place, known in held.items() if known is not None and known.get(name) is None]

    def _ask(self, plan: Plan, places: Iterable[str]) -> None:
        asked = set(self._waiting.values())
        for place in (place for place in places if place not in asked):
            known = self._held.get(place)
            self._waiting[_begun(plan, self._devices, self._choices[place], int(place), known)] = place

    def _hear(self, timeout: float | None = None) -> None:
        """Take in what is ready, after waiting so many seconds for it (None: until something is)."""
        ready = _ended(list(self._waiting), timeout)
        for reference, found in ready:
            self._held[self._waiting.pop(reference)] = found
        if ready:
            self._write()

    def _write(self) -> None:
        self._facts |= {"sample_taught": self._taught, "sample": self._held}
        write_facts(self._folder, self._facts)

    def _ranks(self, name: str) -> dict[str, Any]:
        from evaluators.supernet.sample import correlation

        both = [(each[name], each["trained"]) for each in self._held.values() if each and each[name] is not None]
        found = correlation([accuracy for accuracy, _ in both], [trained for _, trained in both])
        return {"kendall": found.kendall, "spearman": found.spearman, "trusted": found.enough}


def _teaching(plan: Plan) -> str:
    """How candidates are taught in this search, on which the sample's trained accuracies depend."""
    from evaluators.distill.schedule import search_schedule
    from evaluators.tasks.opening import open_task

    task = open_task(plan.task)
    schedule = search_schedule(task.size("train"), plan.config.epochs, task.optimiser)
    return f"{plan.config.distill or task.distill}, {schedule}"


def _begun(plan: Plan, devices: Devices, choice: Choice, place: int, known: Mapping[str, Any] | None) -> Any:
    """A reference to what will be known of one sub-network."""
    share = resources(plan.config.workers or usable_cores())
    task = ray.remote(_sample).options(num_cpus=share["CPU"], num_gpus=share.get("GPU", 0), max_retries=1)
    return task.remote(plan, devices, choice, place, known)


def _ended(references: Sequence[Any], timeout: float | None) -> list[tuple[Any, dict[str, Any] | None]]:
    """What is ready of that; None for a sub-network whose training failed."""
    if not references:
        return []
    try:
        ready, _ = ray.wait(list(references), timeout=timeout)
        return [(reference, ray.get(reference)) for reference in ready]
    except RayTaskError as error:
        if isinstance(error.cause, UnderstudyError):
            raise error.cause from None
        raise _untaught(f"{type(error.cause).__name__}: {error.cause}") from error
    except RayError as error:
        raise _untaught(type(error).__name__) from error


def _untaught(problem: str) -> TrainError:
    return TrainError(
        f"sub-networks of the supernet could not be taught ({problem}): check the memory of this computer, or "
        "give it fewer --workers; `understudy resume` goes on with those that are left"
    )


def _sample(
    plan: Plan, devices: Devices, choice: Choice, place: int, known: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """What is known of one sub-network, and what comes next: taught, scored, fine-tuned; in a worker process."""
    from evaluators.supernet import sample

    bench = _bench(plan, devices)
    try:
        found = sample.taught(bench, choice, place) if known is None else sample.Sampled(**known)
        if bench.supernet is not None:
            then = sample.inherited if found.inherited is None else sample.fine_tuned
            found = then(bench, found, place)
    except TrainError:
        return None
    return found.to_json()


@lru_cache(maxsize=1)
def _bench(plan: Plan, devices: Devices) -> Workbench:
    """The workbench of this process, kept from one sub-network to the next."""
    return plan.open(devices, settle_worker())
