"""What a worker process is told once: enough to open the workbench by itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.device import Device
from search.config import SearchConfig

if TYPE_CHECKING:
    from evaluators.boards.address import BoardAddress
    from evaluators.compile.tune.search import Tuner
    from evaluators.distill.schedule import Schedule
    from evaluators.latency.quiet import QuietCores
    from evaluators.target import Target
    from evaluators.tasks.task import Task
    from evaluators.workbench import Workbench
    from hw_profiles.profile import Profile
    from results.goals import Goal
    from spaces.space import Space


@dataclass(frozen=True)
class Plan:
    """Paths and names, cheap to send: the task and the teacher's outputs are memory-mapped from disk.

    ``outputs`` are those of whoever teaches, ``reference`` those of the teacher itself; ``supernet`` is the folder
    of a trained one, ``trusted`` whether its scores stand in for teaching candidates, and ``fine_tuned`` whether
    a third of that teaching does.

    On a cluster the run's folder must therefore be on a file system that every machine sees.
    """

    config: SearchConfig
    folder: Path
    run: Path
    task: Path
    profiles: tuple[Profile, ...]
    views: int
    lock: Path
    cache: Path
    outputs: Path | None = None
    reference: Path | None = None
    methods: tuple[str, ...] = ()
    supernet: Path | None = None
    trusted: bool = False
    fine_tuned: bool = False

    def space(self) -> Space:
        """The space at the size of the task; with the ways of teaching, where the search chooses among some."""
        from evaluators.distill.auto import TaughtSpace
        from evaluators.tasks.opening import open_task
        from spaces.catalogue import load_space
        from spaces.precision import MixedPrecision

        task = open_task(self.task)
        space = load_space(self.config.space or task.space, **task.sizes)
        space = MixedPrecision(space) if self.config.quantise == "mixed" else space
        return TaughtSpace(space, self.methods) if self.methods else space

    def rungs(self) -> tuple[int, ...]:
        """The epochs after which candidates are compared, and only the best taught on; the last are all.

        Candidates that are scored with inherited weights have one.
        """
        if self.trusted:
            return (1,)
        from evaluators.tasks.opening import open_task
        from search.ladder import rungs_of

        return rungs_of(self._schedule(open_task(self.task)).epochs, self.config.rungs)

    def _schedule(self, task: Task) -> Schedule:
        """How long candidates are taught."""
        from evaluators.supernet.course import tuned

        whole = task.search_schedule(self.config.epochs)
        return tuned(whole) if self.fine_tuned else whole

    def quiet(self) -> QuietCores:
        """The gate between measuring and all other work on this computer."""
        from evaluators.latency.quiet import QuietCores

        return QuietCores(self.lock)

    def open_device(self, profile: Profile) -> Device:
        """The device of a profile, for the one process that owns it: its boards, or this computer."""
        if (boards := self.boards(profile)) is not None:
            from evaluators.boards.device import BoardDevice

            return BoardDevice(boards, profile)
        from evaluators.latency.host import HostDevice

        return HostDevice(profile, self.quiet())

    def boards(self, profile: Profile) -> BoardAddress | None:
        """The boards that measure for a profile, if there are some."""
        return self.config.boards.get(self.config.profile[self.profiles.index(profile)])

    def measured(self, profile: Profile) -> bool:
        """Whether something at hand runs a profile's students, so that their latencies need not be predicted."""
        return profile.reach == "host" or self.boards(profile) is not None

    def target(
        self, profile: Profile, goal: Goal, device: Device | None = None, outlive_boards: bool = False
    ) -> Target:
        """The target of a profile; ``device`` is opened here unless given, or is a predictor.

        With ``outlive_boards`` latencies are predicted when all boards are lost (those of a GPU are not learnt).
        """
        from evaluators.latency.predict.store import LatencyStore, latency_path
        from evaluators.target import Target

        store = LatencyStore(latency_path())
        if not self.measured(profile):
            return Target(profile, store.predictor(profile), goal)
        lost = outlive_boards and self.boards(profile) is not None and profile.gpu is None
        fallback = lru_cache(maxsize=1)(partial(store.predictor, profile)) if lost else None
        seconds = self.config.tune
        tuner = None if device is None or seconds is None else self._tuner(profile, device, seconds)
        return Target(profile, device or self.open_device(profile), goal, tuner, fallback)

    def _tuner(self, profile: Profile, device: Device, seconds: float) -> Tuner:
        """Kernels are built by a child of this process, which may crash, and timed on the device."""
        from evaluators.compile.tune.builders import Builders
        from evaluators.compile.tune.database import Database, default_path
        from evaluators.compile.tune.search import Tuner

        builders = Builders(profile, 1)
        scratch = self.run / ".scratch"
        return Tuner(profile, Database(default_path()), device, builders, seconds, self.quiet().working, scratch)

    def open(
        self, devices: Sequence[Device | None] = (), torch_device: str = "cpu", outlive_boards: bool = False
    ) -> Workbench:
        """The workbench of this process; ``devices``, one a profile, are opened here unless given
        (None for one that is predicted). ``outlive_boards`` is as for ``target``."""
        from evaluators.distill.auto import auto_methods
        from evaluators.distill.catalogue import load_distiller
        from evaluators.distill.teacher_outputs import TeacherOutputs
        from evaluators.quantise.precision import Precision
        from evaluators.supernet.kept import open_supernet
        from evaluators.tasks.opening import open_task
        from evaluators.workbench import Workbench
        from search.teacher import open_nearest

        os.chdir(self.folder)
        config = self.config
        task = open_task(self.task)
        distill = config.distill or task.distill
        space = self.space()
        opened: Sequence[Device | None] = devices or [None] * len(self.profiles)
        return Workbench(
            space=space,
            task=task,
            teacher_outputs=None if self.outputs is None else TeacherOutputs(self.outputs, self.views),
            reference=None if self.reference is None else TeacherOutputs(self.reference, 0),
            distiller=None if auto_methods(distill) else load_distiller(distill),
            schedule=self._schedule(task),
            final_schedule=task.final_schedule(config.final_epochs),
            targets=tuple(
                self.target(profile, goal, device, outlive_boards)
                for profile, goal, device in zip(self.profiles, config.goals.each, opened, strict=True)
            ),
            working=self.quiet().working,
            scratch=self.run / ".scratch",
            seed=config.seed,
            open_teacher=partial(open_nearest, config, task, self.cache),
            torch_device=torch_device,
            precision=None if config.quantise == "none" else Precision.of(config.quantise, self.profiles),
            supernet=None if self.supernet is None else open_supernet(self.supernet, space),
            trusted=self.trusted,
        )
