"""The options of commands that tune kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from understudy import ConfigError

if TYPE_CHECKING:
    from evaluators.compile.tune.tuned import TuningRequest

METASCHEDULE = "metaschedule"


def tuning_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--tune`` and ``--tune-with``."""
    tune = click.option(
        "--tune", type=click.FloatRange(min=0), help="seconds of tuning kernels first; 0 uses what is known"
    )
    tune_with = click.option(
        "--tune-with", type=click.Choice([METASCHEDULE]), help="give half of these seconds to TVM's own tuner"
    )
    return tune(tune_with(command))


def tuning_request(tune: float | None, tune_with: str | None) -> TuningRequest | None:
    """What the options ask for, None for no tuning; raises ``ConfigError`` for a tuner without time."""
    from evaluators.compile.tune.tuned import TuningRequest

    if tune is None:
        if tune_with is not None:
            raise ConfigError(f"--tune-with {tune_with} needs a time: give --tune SECONDS, too")
        return None
    return TuningRequest(tune, tune_with == METASCHEDULE)
