"""The boards of a search as people write them: ``TRACKER:KEY``, or ``rpi5=TRACKER:KEY`` for one of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evaluators.boards.address import BoardAddress
from understudy import ConfigError, unknown_name


def boards_by_profile(given: Sequence[str], profiles: Sequence[str]) -> Mapping[str, BoardAddress]:
    """The boards that measure for each profile that has some.

    Raises ``ConfigError`` for what is no board, a profile that the search has not or that has boards already, or
    when it is not said for which of several profiles a board is.
    """
    found: dict[str, BoardAddress] = {}
    for text in given:
        profile, _, address = text.rpartition("=")
        if not profile and len(profiles) > 1:
            raise ConfigError(f"board {text} is for one of several profiles: write {profiles[0]}={text}")
        profile = profile or profiles[0]
        if profile not in profiles:
            raise ConfigError(f"board: {unknown_name('profile', profile, profiles)}")
        if profile in found:
            raise ConfigError(f"board is given twice for {profile}: boards that are alike share one key")
        found[profile] = BoardAddress.parse(address)
    return found
