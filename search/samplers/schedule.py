"""When hyperparameters are learnt anew: after so many observations, whoever asks."""

from __future__ import annotations

from collections.abc import Callable

from search.samplers.encoding import Array

_EVERY = 4
_GROWTH = 1.12


class Remembered:
    """Hyperparameters by the number of observations, the first of the record, that they were learnt from.

    They follow from those observations alone, so that a search that was interrupted learns the same again.
    """

    def __init__(self) -> None:
        self._held: dict[int, Array] = {}

    def get(self, observations: int, learn: Callable[[int], Array]) -> Array:
        """Those that count after so many observations, learnt now (from the first few, at most all) if needed."""
        count = following = min(_EVERY, observations)
        while following <= observations:
            count, following = following, max(following + _EVERY, int(following * _GROWTH))
        if count not in self._held:
            self._held[count] = learn(count)
        return self._held[count]
