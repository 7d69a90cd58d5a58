"""Which recordings of spoken words judge: those of other speakers, or other recordings of the same ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluators.tasks.split import SHARES

MANY = 20
"""Speakers from which on whole speakers are held out; fewer leave too few to judge by."""
_INDEX_SHARE = 0.1
_SPEECH_COMMANDS = re.compile(r"(?P<speaker>.+)_nohash_(?P<index>\d+)")
_FLAT = re.compile(r"(?P<label>.+)_(?P<speaker>[^_]+)_(?P<index>\d+)")


@dataclass(frozen=True)
class Named:
    """What the name of a recording says: its word (where it does), its speaker, and its number."""

    label: str
    speaker: str
    index: int


def named(stems: Sequence[str], labelled: bool) -> list[Named] | None:
    """What names without their endings say, or None unless all say it.

    ``{label}_{speaker}_{index}`` with ``labelled`` (the word may hold underscores, the speaker not), else
    ``{speaker}_nohash_{index}``, as in Speech Commands (Warden, 2018, arXiv:1804.03209).
    """
    matches = [(_FLAT if labelled else _SPEECH_COMMANDS).fullmatch(stem) for stem in stems]
    said = [match.groupdict() for match in matches if match is not None]
    if len(said) < len(stems):
        return None
    return [Named(each.get("label", ""), each["speaker"], int(each["index"])) for each in said]


def held_out(recordings: Sequence[Named], seed: int) -> tuple[NDArray[np.str_], str] | None:
    """The split of each ("train", "val" or "test") and what to say of it; None where too few could be held out.

    With 20 speakers or more, whole speakers are drawn by the seed until each of val and test has 15 % of the
    recordings. With fewer, the tenth of the numbers that is lowest is for test, the next tenth for val, of all
    speakers: at random, much of a recording session would be in all three.
    """
    speakers = np.array([each.speaker for each in recordings])
    indices = np.array([each.index for each in recordings])
    split = np.full(len(recordings), "train", "<U5")
    known, sizes = np.unique(speakers, return_counts=True)
    if len(known) >= MANY:
        order = np.random.default_rng(seed).permutation(len(known))
        share = np.cumsum(sizes[order]) / len(recordings)
        for name, lowest, highest in (("test", 0.0, SHARES[2]), ("val", SHARES[2], SHARES[1] + SHARES[2])):
            before = np.concatenate([[0.0], share[:-1]])
            split[np.isin(speakers, known[order[(before >= lowest) & (before < highest)]])] = name
        count = {name: len(set(speakers[split == name].tolist())) for name in ("train", "val", "test")}
        text = ", ".join(f"{number} in {name}" for name, number in count.items())
        return split, f"each speaker is in one split only: {text}"
    numbers = np.unique(indices)
    tenth = max(1, round(_INDEX_SHARE * len(numbers)))
    if len(numbers) < 3 * tenth:
        return None
    test, val = numbers[:tenth], numbers[tenth : 2 * tenth]
    split[np.isin(indices, test)] = "test"
    split[np.isin(indices, val)] = "val"
    held = ", ".join(
        f"number{'s' * (tenth > 1)} {_span(each)} in {name}" for name, each in (("test", test), ("val", val))
    )
    return split, f"whole numbers are held out of all {len(known)} speakers: {held}"


def _span(numbers: NDArray[np.int64]) -> str:
    return f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else str(numbers[0])
