"""What earlier runs of the same space learnt, for the sampler of a new one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from results.candidate import Candidate
from results.store import RunStore
from spaces.space import Space, check_choice
from understudy import ConfigError, SpaceError


def earlier_candidates(runs: Sequence[str], space: Space) -> list[list[Candidate]]:
    """The candidates of earlier runs, whatever their data and devices.

    Raises ``RunError`` for a folder that holds no run, and ``ConfigError`` for a run of another space or one
    without a taught candidate, which has nothing to tell.
    """
    return [_candidates(Path(run), space) for run in runs]


def _candidates(run: Path, space: Space) -> list[Candidate]:
    candidates = RunStore.open(run).candidates()
    if not any(candidate.state == "done" for candidate in candidates):
        raise ConfigError(f"--warm-start {run}: no candidate of this run was taught: leave it out")
    try:
        for candidate in candidates:
            check_choice(space, candidate.choice)
    except SpaceError as error:
        raise ConfigError(
            f"--warm-start {run}: its candidates are not of the space of this search ({error}): leave it out, or "
            "search the same space"
        ) from error
    return candidates
