"""When a search has come to its end: its front has stopped improving."""

from __future__ import annotations

from collections.abc import Sequence

from results.candidate import Candidate
from results.front import by_finish
from results.goals import Goals

BETTER = 0.001
"""By such a share the hypervolume must have grown to count as better."""


def has_stalled(candidates: Sequence[Candidate], goals: Goals, patience: int) -> bool:
    """Whether the last ``patience`` candidates that were taught made no target's front better.

    Hypervolumes are measured from one reference. A search that has no front yet has not stalled; candidates over
    the budget, which cost no training, do not count.
    """
    taught = [each for each in by_finish(candidates) if each.state in ("done", "pruned")]
    if len(taught) <= patience:
        return False
    volumes = goals.hypervolume_over_time(taught)
    return 0 < volumes[-1] <= volumes[-1 - patience] * (1 + BETTER)
