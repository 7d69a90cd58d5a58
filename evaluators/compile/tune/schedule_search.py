"""MetaSchedule itself on one kernel, as it runs in a child process."""

from __future__ import annotations

from pathlib import Path

import tvm
from tvm.s_tir import meta_schedule

from hw_profiles.profile import Profile

TRIALS = 512
"""More than any time limit lets it try."""

ROUND = 16
"""Trials between two looks at what they gave."""

TRIAL_S = 10


def search(text: str, profile: Profile, folder: Path) -> None:
    """Try schedules of the kernel ``main`` of a module (JSON) until killed; its records go into ``folder``."""
    meta_schedule.tune_tir(
        tvm.ir.load_json(text),
        _target(profile),
        str(folder),
        TRIALS,
        num_trials_per_iter=ROUND,
        builder=meta_schedule.builder.LocalBuilder(max_workers=profile.cores, timeout_sec=TRIAL_S),
        runner=meta_schedule.runner.LocalRunner(timeout_sec=TRIAL_S),
        cost_model="random",
        num_tuning_cores=profile.cores,
        seed=1,
    )


def best_found(text: str, profile: Profile, folder: Path) -> str | None:
    """The kernel (JSON) under the best schedule in the records of ``folder``; None where there are none."""
    database = meta_schedule.database.JSONDatabase(work_dir=str(folder))
    schedule = database.query_schedule(tvm.ir.load_json(text), _target(profile), "main")
    return None if schedule is None else tvm.ir.save_json(schedule.mod["main"].without_attr("global_symbol"))


def _target(profile: Profile) -> tvm.target.Target:
    return tvm.target.Target({**profile.tvm_target, "num-cores": profile.threads})
