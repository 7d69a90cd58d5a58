"""`--supernet`: one network that holds all students, taught before the search, or taken from an earlier run.

What is known of it stands in ``supernet/supernet.json`` of the run's folder: ``origin`` (what its weights depend
on), ``from`` (the run it was taken from, if it was), ``epochs``, ``seconds``, ``workers``, ``sample`` (by place,
sub-networks scored and taught as ``sample_taught``, see ``search/ranking.py``; null for one whose training
failed), ``kendall``, ``spearman`` and ``trusted``. Where scores are not, ``tuned`` holds the same three of the
sample after a third of its teaching, begun with inherited weights.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError, RayTaskError

from evaluators.supernet.kept import FOLDER, is_trained, read_facts
from evaluators.tasks.task import UNLABELLED
from results.supernet import supernet_sentence
from search.checks import check_supernet
from search.config import BLOCKS, OUTPUTS, TRAIN
from search.display import Display
from search.plan import Plan
from search.ranking import Ranking
from search.worker_process import resources, settle_worker
from spaces.supernet import Supernet, shareable
from understudy import ConfigError, TrainError, UnderstudyError

if TYPE_CHECKING:
    from search.device_actor import Devices

RETRIES = 2
LEAST_SHARE = 16
"""Samples of a batch that a worker must have at least: batch norms learn their statistics from them."""
_LOOK_S = 0.5
_MEETING = ".meeting-"


def with_supernet(
    plan: Plan, devices: Devices, origin: Mapping[str, str], workers: int, display: Display
) -> tuple[Plan, dict[str, Any]]:
    """The plan of a search with the supernet that its configuration asks for, and what is known of that.

    It is taught unless the run's folder holds it, or copied from the run that ``--supernet`` names. Raises
    ``UnderstudyError``: for a space without a supernet, one of another space, data or teacher, and where its
    training fails.
    """
    wanted = plan.config.supernet
    if wanted is None:
        return plan, {}
    folder = plan.run / FOLDER
    known = {**_origin_before_teachers(plan, origin["data"]), "teacher": origin["teacher"]}
    facts = read_facts(folder)
    ready = is_trained(folder) and _origin(facts) == known
    ranking = Ranking(plan, devices, folder, facts if ready or "origin" not in facts else {})
    if not ready:
        check_supernet(plan.config)
        found = (
            _taught(plan, devices, folder, workers, display, ranking.beside)
            if wanted == TRAIN
            else _taken(wanted, folder, known)
        )
        ranking.learn({**found, "origin": known})
    plan = replace(plan, supernet=folder)
    facts = ranking.ranked(plan, display)
    display.note(supernet_sentence(facts))
    return replace(plan, trusted=facts["trusted"], fine_tuned=facts.get("tuned", {}).get("trusted", False)), facts


def check_taken(plan: Plan, data: str) -> None:
    """Refuse an earlier run's supernet of another space, data (a fingerprint) or supervision before a teacher is
    trained for nothing; raises ``ConfigError``."""
    wanted = plan.config.supernet
    if wanted not in (None, TRAIN) and not is_trained(plan.run / FOLDER):
        _check_origin(wanted, read_facts(Path(wanted) / FOLDER), _origin_before_teachers(plan, data))


def _origin_before_teachers(plan: Plan, data: str) -> dict[str, str]:
    """What the weights of this search's supernet depend on beside the teacher."""
    return {**_space_origin(plan), "data": data, "supervision": plan.config.supervision}


def _space_origin(plan: Plan) -> dict[str, str]:
    """The name of the space, and a hash of its choices and of its smallest and its largest network.

    Raises ``SpaceError`` for a space that has no supernet.
    """
    space = shareable(plan.space())
    domain = {name: list(values) for name, values in space.domain.items()}
    networks = [space.signature(choice) for choice in (space.smallest(), space.largest())]
    held = json.dumps([domain, networks], sort_keys=True)
    return {"space": f"{space.name}, {hashlib.sha256(held.encode()).hexdigest()[:16]}"}


def _origin(facts: Mapping[str, Any]) -> dict[str, str]:
    """What the weights of a supernet depend on; one that does not say what it learnt from learnt from outputs."""
    return {"supervision": OUTPUTS, **facts.get("origin", {})}


def _taken(run: str, folder: Path, origin: Mapping[str, str]) -> dict[str, Any]:
    """Copy the supernet of an earlier run; its facts."""
    source = Path(run) / FOLDER
    facts = read_facts(source)
    _check_origin(run, facts, origin)
    folder.mkdir(exist_ok=True)
    for path in source.iterdir():
        if path.is_file() and not path.name.startswith("."):
            copy = folder / f".{path.name}.tmp"
            shutil.copyfile(path, copy)
            copy.replace(folder / path.name)
    return {**facts, "from": run}


def _check_origin(run: str, facts: Mapping[str, Any], origin: Mapping[str, str]) -> None:
    """Refuse what was not taught with these, for a search whose weights would depend on others."""
    before = _origin(facts)
    differ = [name for name in origin if before.get(name) != origin[name]]
    if differ:
        raise ConfigError(
            f"the supernet of {run} was taught with another {' and another '.join(differ)} than this search has: "
            f"search with what it was taught with, or let this search train its own (--supernet {TRAIN})"
        )


class _Worker:
    """One of the processes that train a supernet together."""

    def __init__(self, plan: Plan, devices: Devices) -> None:
        self._plan, self._devices = plan, devices
        self._progress = (0, 0)

    def progress(self) -> tuple[int, int]:
        """Steps done and in all."""
        return self._progress

    def teach(self, rank: int, size: int, meeting: Path, folder: Path) -> float:
        """Train to the end with the others; the seconds that it took."""
        from evaluators.supernet.blocks import BlockWise
        from evaluators.supernet.course import supernet_schedule, teach_supernet
        from evaluators.supernet.crew import join, leave
        from evaluators.supernet.lesson import Lesson

        bench = self._plan.open(self._devices, settle_worker())
        distiller = BlockWise() if self._plan.config.supervision == BLOCKS else bench.distiller
        assert distiller is not None
        lesson = Lesson(
            task=bench.task,
            distiller=distiller,
            outputs=bench.teacher_outputs,
            teacher=bench.teacher_for(distiller),
            schedule=supernet_schedule(
                bench.task.size("train"), self._plan.config.supernet_epochs, bench.task.optimiser
            ),
            seed=bench.seed,
            device=bench.torch_device,
            guard=bench.working,
        )
        crew = join(rank, size, meeting)
        try:
            return teach_supernet(bench.space, lesson, folder, crew, self._count)
        finally:
            leave(crew)

    def _count(self, done: int, steps: int) -> None:
        self._progress = (done, steps)


def _taught(
    plan: Plan, devices: Devices, folder: Path, workers: int, display: Display, beside: Callable[[], None]
) -> dict[str, Any]:
    """Train the supernet on all workers; where a GPU does it, on as many as there are. What it cost.

    ``beside`` is called now and then, with nothing but that training begun.
    """
    from evaluators.supernet.course import supernet_schedule
    from evaluators.tasks.opening import open_task

    gpus = int(ray.cluster_resources().get("GPU", 0))
    task = open_task(plan.task)
    targets = np.array(task.targets("train"))
    schedule = supernet_schedule(len(targets), plan.config.supernet_epochs, task.optimiser)
    Supernet.untrained(plan.space())  # a space without one is refused before anything is kept
    size = max(1, min(gpus or workers, workers, _least_batch(targets, schedule.batch_size) // LEAST_SHARE))
    folder.mkdir(exist_ok=True)
    for leftover in folder.glob(f"{_MEETING}*"):  # of a search that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    with display.stage("supernet, taught once for all targets") as advance:
        for attempt in range(RETRIES + 1):
            try:
                seconds = _together(plan, devices, folder, size, advance, beside)
                break
            except RayTaskError as error:
                if isinstance(error.cause, UnderstudyError):
                    raise error.cause from None
                problem = str(error.cause)
            except RayError as error:
                problem = type(error).__name__
            if attempt == RETRIES:
                raise TrainError(
                    f"the supernet's training was lost {attempt + 1} times ({problem}): check the memory of this "
                    "computer, or give it fewer --workers; `understudy resume` goes on from its last epoch"
                )
    return {"epochs": schedule.epochs, "seconds": seconds, "workers": size}


def _least_batch(targets: NDArray[np.int64], size: int) -> int:
    """Samples of the smallest batch, where those with and those without labels have batches of their own."""
    unlabelled = int(np.count_nonzero(targets == UNLABELLED))
    groups = [count for count in (unlabelled, len(targets) - unlabelled) if count]
    return min(count // max(1, round(count / size)) for count in groups)


def _together(
    plan: Plan,
    devices: Devices,
    folder: Path,
    size: int,
    advance: Callable[[int, int], None],
    beside: Callable[[], None],
) -> float:
    """One training by so many processes, from the state that is kept; ends them all, however it ends."""
    asked = resources(size)
    made = ray.remote(_Worker).options(
        num_cpus=asked["CPU"], num_gpus=asked.get("GPU", 0), max_concurrency=2, max_restarts=0
    )
    with tempfile.TemporaryDirectory(prefix=_MEETING, dir=folder) as place:
        crew = [made.remote(plan, devices) for _ in range(size)]
        try:
            waiting = [
                worker.teach.remote(rank, size, Path(place) / "met", folder) for rank, worker in enumerate(crew)
            ]
            results = list(waiting)
            while waiting:
                ready, waiting = ray.wait(waiting, timeout=_LOOK_S)
                ray.get(ready)
                done, steps = ray.get([worker.progress.remote() for worker in crew])[0] if waiting else (0, 0)
                if steps:
                    advance(done, steps)
                beside()
            return float(ray.get(results[0]))
        finally:
            for worker in crew:
                ray.kill(worker)
