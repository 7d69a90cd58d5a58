"""Going on with a text token by token, by a compiled program for prompts and one for a token more.

Beside ``run.py`` in a bundle whose student goes on with texts; needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Program = Callable[..., tuple[Array, Array]]


class Continuation:
    """A text that is gone on with: what was read of it is in a cache of keys and values.

    ``prefill`` takes a prompt (1, window) and the place of its last token, and gives logits (1, tokens) and the
    cache; ``step`` takes a token, its place and the cache, and gives logits and what belongs into the cache there.
    ``cache`` is an array of its shape, to be written into. Prompts of up to ``few`` tokens are read step by step,
    which is faster than a whole window.
    """

    def __init__(self, prefill: Program, step: Program, cache: Array, few: int) -> None:
        self._prefill, self._step, self._cache, self._few = prefill, step, cache, few
        self.window: int = cache.shape[3]

    def read(self, tokens: Sequence[int]) -> Array:
        """Read a text anew, its last ``window`` tokens if it is longer; what comes next, logits (tokens,)."""
        seen = list(tokens)[-self.window :]
        self._place = len(seen) - 1
        if len(seen) <= self._few:
            for place, token in enumerate(seen):
                logits = self._stepped(token, place)
            return logits
        prompt = np.zeros((1, self.window), np.int64)
        prompt[0, : len(seen)] = seen
        logits, cache = self._prefill(prompt, np.array([self._place], np.int64))
        self._cache[...] = cache
        first: Array = logits[0]
        return first

    def go_on(
        self, tokens: Sequence[int], count: int, temperature: float, seed: int, end: int | None
    ) -> Iterator[int]:
        """``count`` tokens more, or fewer where the text comes to its ``end``.

        Each is drawn from its probabilities, sharpened by a ``temperature`` below 1; 0 takes the likeliest. A text
        that fills the window is read anew from its latest half on, since places are counted from the beginning.
        """
        generator = np.random.default_rng(seed)
        said = list(tokens)
        logits = self.read(said)
        for number in range(count):
            token = drawn(logits, temperature, generator)
            if token == end:
                return
            yield token
            said.append(token)
            if number + 1 == count:
                return
            if self._place + 1 < self.window:
                self._place += 1
                logits = self._stepped(token, self._place)
            else:
                logits = self.read(said[-(self.window // 2) :])

    def _stepped(self, token: int, place: int) -> Array:
        logits, entry = self._step(np.array([token], np.int64), np.array([place], np.int64), self._cache)
        self._cache[:, :, :, place] = entry
        first: Array = logits[0]
        return first


def drawn(logits: Array, temperature: float, generator: np.random.Generator) -> int:
    """A token by its probability, of logits (tokens,) over the temperature (Gumbel-max); 0 takes the likeliest."""
    if temperature == 0:
        return int(logits.argmax())
    return int((logits / temperature + generator.gumbel(size=logits.shape)).argmax())
