"""Recordings read from WAV files, all at one rate and of one length."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from evaluators.tasks.prepare import OnBad
from evaluators.tasks.split import shared_samples
from evaluators.tasks.waveform_task import FULL
from results.bundle import sound
from understudy import DataError

HIGHEST_RATE = 16_000
"""Samples a second beyond which speech has little to tell the words apart by."""
LONGEST = 5.0
"""Seconds of a recording that students take at most."""
_STEP = 0.1
_LISTED = 5
Got = TypeVar("Got")


@dataclass(frozen=True)
class Heard:
    """The recordings that could be read: ``samples`` int16 (N, length) at ``rate`` Hz.

    ``kept`` are their numbers, ``seconds`` their lengths in the files; ``bad`` names the files that could not be
    read.
    """

    samples: NDArray[np.int16]
    rate: int
    kept: NDArray[np.int64]
    seconds: NDArray[np.float64]
    bad: Sequence[str]


def hear(paths: Sequence[Path], on_bad: OnBad) -> Heard:
    """All headers, then all samples in the form that the headers ask for (see ``form``).

    Raises ``DataError`` where files cannot be read, with ``on_bad="skip"`` only where none can.
    """
    bad: dict[str, object] = {}

    def attempt(path: Path, read: Callable[[Path], Got]) -> Got | None:
        try:
            return read(path)
        except (ValueError, OSError) as error:
            bad[str(path)] = getattr(error, "strerror", None) or error
            return None

    looks = {index: look for index, path in enumerate(paths) if (look := attempt(path, _look)) is not None}
    seconds = {index: look.frames / look.rate for index, look in looks.items()}
    rate, length = form([look.rate for look in looks.values()], [*seconds.values()]) if looks else (1, 0)
    samples = np.empty((len(looks), length), np.int16)
    kept: list[int] = []
    for index in looks:
        heard = attempt(paths[index], lambda path: sound.waveform(path, rate, length))
        if heard is not None:
            samples[len(kept)] = as_integers(heard)
            kept.append(index)
    if bad and (on_bad == "refuse" or not kept):
        path, what = next(iter(bad.items()))
        raise DataError(
            f"{path} cannot be used: {what} ({len(bad)} such of {len(paths)} files). Repair or remove them"
            + (", or leave such recordings out with --skip-bad" if kept else "")
        )
    times = np.array([seconds[index] for index in kept])
    return Heard(samples[: len(kept)], rate, np.array(kept, np.int64), times, [*bad])


def form(rates: Sequence[int], seconds: Sequence[float]) -> tuple[int, int]:
    """The rate (Hz) at which recordings of these rates and lengths are taken, and how many samples long.

    The commonest rate, 16 kHz at most; the length that 95 % are within, in whole tenths of a second, 5 s at most.
    """
    rate = min(Counter(rates).most_common(1)[0][0], HIGHEST_RATE)
    within = math.ceil(float(np.quantile(seconds, 0.95)) / _STEP - 1e-6) * _STEP
    return rate, round(min(max(within, _STEP), LONGEST) * rate)


def as_integers(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples in -1..1 as integers; those of 16 bits as they were."""
    return np.rint(samples * FULL).clip(-FULL, FULL - 1).astype(np.int16)


def remarks(heard: Heard, parts: Sequence[NDArray[np.int64]]) -> list[str]:
    """What the user should know of recordings, of which ``parts`` are the rows of train, val and test."""
    length = heard.samples.shape[1] / heard.rate
    said = [f"each recording is {length:.1f} s at {heard.rate / 1000:g} kHz, mono"]
    longer = int((heard.seconds > length).sum())
    if longer:
        said.append(f"{longer} recordings are longer: their loudest {length:.1f} s are taken")
    silent = len(heard.samples) - np.count_nonzero(heard.samples.any(axis=1))
    if silent:
        said.append(f"{silent} recordings are silent from beginning to end")
    digests = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in heard.samples]
    shared = shared_samples(digests, parts)
    if shared:
        said.append(f"{shared} recordings of the validation or test split are also in an earlier split")
    if heard.bad:
        listed = ", ".join(heard.bad[:_LISTED]) + (", ..." if len(heard.bad) > _LISTED else "")
        said.append(f"{len(heard.bad)} unreadable recordings were left out: {listed}")
    return said


def _look(path: Path) -> sound.Layout:
    with path.open("rb") as handle:
        return sound.look(handle)
