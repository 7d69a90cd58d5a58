"""What a configuration is refused for before anything is loaded, or as soon as the kind of data is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from results.store import RunStore
from search.config import TRAIN, SearchConfig
from understudy import ConfigError, SpaceError, unknown_name

if TYPE_CHECKING:
    from evaluators.tasks.task import Task
    from hw_profiles.profile import Profile


def check_names(config: SearchConfig) -> tuple[Profile, ...]:
    """Refuse unknown names before anything is loaded; the profiles, with the configured number of threads.

    Raises the ``UnderstudyError`` that fits.
    """
    from evaluators.distill.auto import auto_methods, usable_methods
    from evaluators.distill.catalogue import methods
    from evaluators.quantise.precision import Precision
    from evaluators.tasks.task import Task
    from hw_profiles.profile import load_profile
    from spaces.catalogue import space_names

    if config.space is not None and ":" not in config.space and config.space not in space_names():
        raise SpaceError(unknown_name("space", config.space, (*space_names(), "nni:NAME", "file.py:Class")))
    distill = config.distill or Task.distill
    if not usable_methods(distill, bool(config.teachers)):
        alone = ", ".join(name for name, method in methods().items() if not method.kind.uses_teacher)
        raise ConfigError(
            f"--teacher none leaves {distill} nobody to learn from: name a --teacher, or with --distill a "
            f"method that needs none ({alone})"
        )
    for run in config.warm_start:
        RunStore.open(Path(run))
    profiles = tuple(
        load_profile(name).on_board() if name in config.boards else load_profile(name) for name in config.profile
    )
    _check_power(config, profiles)
    _check_tuning(config, profiles)
    if config.quantise != "none":
        Precision.of(config.quantise, profiles)
    if config.supernet is not None and auto_methods(distill) is not None:
        raise ConfigError("a supernet is taught in one way, so --distill must name it, not auto")
    return profiles if config.threads is None else tuple(each.with_threads(config.threads) for each in profiles)


def check_supernet(config: SearchConfig) -> None:
    """Refuse an earlier run without a supernet; raises ``ConfigError``."""
    from evaluators.supernet.kept import FOLDER, is_trained

    if config.supernet is not None and config.supernet != TRAIN and not is_trained(Path(config.supernet) / FOLDER):
        raise ConfigError(
            f"{config.supernet} has no trained supernet: name a run of `understudy search --supernet {TRAIN}`, or "
            f"train one here (--supernet {TRAIN})"
        )


def _check_power(config: SearchConfig, profiles: Sequence[Profile]) -> None:
    """Refuse to weigh energy where the profile does not say what the device draws."""
    for profile, goal in zip(profiles, config.goals.each, strict=True):
        if "energy" in (*goal.objectives, *goal.budget.limits) and profile.active_w is None:
            raise ConfigError(
                f"the profile {profile.name} gives no power (active_w), so energy cannot be estimated: leave "
                "energy out, or give the figure in a profile of your own"
            )


def _check_tuning(config: SearchConfig, profiles: Sequence[Profile]) -> None:
    """Refuse to tune the kernels of a GPU, which nothing here does."""
    untuned = [profile.name for profile in profiles if profile.gpu is not None]
    if config.tune is not None and untuned:
        raise ConfigError(f"kernels of a GPU are not tuned ({', '.join(untuned)}): leave out --tune")


def check_kind(config: SearchConfig, task: Task) -> None:
    """Refuse what does not go with answers of the data's kind, before a teacher is trained; ``ConfigError``."""
    from evaluators.distill.auto import auto_methods
    from evaluators.distill.catalogue import load_distiller
    from evaluators.distill.places import check_answers
    from evaluators.tasks.language_task import LanguageTask

    distill = config.distill or task.distill
    if auto_methods(distill) is None:
        check_answers(load_distiller(distill), task)
    asked = {
        "--supernet": config.supernet is not None,
        f"--quantise {config.quantise}": config.quantise not in _precisions(task),
        "--assistant": config.assistant is not None,
        "more than one --teacher": len(config.teachers) > 1,
    }
    limited = any("first_token" in (*goal.objectives, *goal.budget.limits) for goal in config.goals.each)
    if limited and not isinstance(task, LanguageTask):
        raise ConfigError(
            f"first_token is a figure of students of plain text, and the data are {task.kind}: leave it out"
        )
    for option, given in asked.items():
        if (task.dense or task.several) and given:
            raise ConfigError(f"{option} is not for {task.kind} yet: leave it out")


def _precisions(task: Task) -> tuple[str, ...]:
    """Settings of ``--quantise`` for data whose answers are maps or whose samples have several parts."""
    from evaluators.quantise.precision import WEIGHTS
    from evaluators.tasks.language_task import LanguageTask
    from evaluators.tasks.segmentation_task import SegmentationTask

    if isinstance(task, LanguageTask):
        return ("none", *WEIGHTS)
    return ("none", "int8", "mixed") if isinstance(task, SegmentationTask) else ("none",)
