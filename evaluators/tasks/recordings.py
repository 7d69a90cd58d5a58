"""From a folder of WAV files to a prepared ``WaveformTask`` on disk."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from evaluators.tasks.folder import SUFFIXES, Labelled, labelled_files
from evaluators.tasks.prepare import OnBad
from evaluators.tasks.speakers import held_out, named
from evaluators.tasks.split import shared_samples
from evaluators.tasks.vectors import Vectors, lay_out, split_labelled
from evaluators.tasks.waveform_task import FULL, WaveformTask
from results.bundle import sound
from understudy import DataError

WAV = frozenset({".wav", ".wave"})
HIGHEST_RATE = 16_000
"""Samples a second beyond which speech has little to tell the words apart by."""
LONGEST = 5.0
"""Seconds of a recording that students take at most."""
_STEP = 0.1
_LISTED = 5
Read = TypeVar("Read")


@dataclass(frozen=True)
class Recordings:
    """WAV files with classes; ``note`` says how they were divided, if by their names."""

    files: Labelled
    source: str
    note: str | None = None


def holds_recordings(folder: Path) -> bool:
    """Whether a folder has more WAV files than pictures in it."""
    kinds = Counter(path.suffix.lower() for path in folder.rglob("*") if not path.name.startswith("."))
    return sum(kinds[suffix] for suffix in WAV) > sum(kinds[suffix] for suffix in SUFFIXES)


def recordings_in(folder: Path, seed: int) -> Recordings:
    """Recordings of ``<class>/**``, ``<split>/<class>/**`` or ``<class>_<speaker>_<number>.wav``.

    Folders whose names begin with an underscore are no classes (``_background_noise_``). What divides them if no
    folders do: ``validation_list.txt`` and ``testing_list.txt``, a ``<class>/<name>.wav`` a line, as in Speech
    Commands; else ``held_out``, where names tell speaker and number. Raises ``DataError`` when there are none.
    """
    flat = sorted(path for path in folder.iterdir() if path.suffix.lower() in WAV and path.name[0] != ".")
    said = named([path.stem for path in flat], labelled=True) if flat else None
    if flat and said is None:
        raise DataError(
            f"WAV files lie in {folder} itself and are not all named WORD_SPEAKER_NUMBER.wav: put them into one "
            "folder a class"
        )
    if said is not None:
        labels = sorted({each.label for each in said})
        numbers = {label: number for number, label in enumerate(labels)}
        targets = np.array([numbers[each.label] for each in said], np.int64)
        files = Labelled(tuple(flat), targets, tuple(labels), None)
    else:
        files = labelled_files(folder, WAV, "recordings", "wav", passed_over="._")
        said = None if files.given is not None else named([path.stem for path in files.paths], labelled=False)
    divided = _listed(folder, files.paths) or (None if said is None else held_out(said, seed))
    if divided is None:
        return Recordings(files, str(folder))
    return Recordings(replace(files, given=divided[0]), str(folder), divided[1])


def _listed(folder: Path, paths: Sequence[Path]) -> tuple[NDArray[np.str_], str] | None:
    """The split of each file by the lists beside them, and what to say of it; None where there are no lists."""
    lists = {split: folder / f"{split}_list.txt" for split in ("validation", "testing")}
    if not all(path.is_file() for path in lists.values()):
        return None
    validation, testing = (
        {line.strip() for line in path.read_text(errors="replace").splitlines()} for path in lists.values()
    )
    names = [path.relative_to(folder).as_posix() for path in paths]
    split = ["test" if name in testing else "val" if name in validation else "train" for name in names]
    return np.array(split), "they are divided by validation_list.txt and testing_list.txt"


def create_waveform_task(
    recordings: Recordings, *, cache: Path, seed: int, on_bad: OnBad = "refuse"
) -> WaveformTask:
    """Prepare recordings as a task in a folder of ``cache``, or open it there if it was prepared before.

    They are taken at the commonest rate, 16 kHz at most, and at the length that 95 % of them are within, rounded
    up to tenths of a second, 5 s at most; see ``results.bundle.sound`` for what becomes of others. Raises
    ``DataError`` for fewer than two classes, a class too small to split, and a file that cannot be read
    (``on_bad="skip"`` leaves such out and notes it).
    """
    files = recordings.files
    bad: dict[int, str] = {}

    def read_all(indices: Sequence[int], read: Callable[[Path], Read]) -> dict[int, Read]:
        found = {}
        for index in indices:
            try:
                found[index] = read(files.paths[index])
            except (ValueError, OSError) as error:
                if on_bad == "refuse":
                    what = getattr(error, "strerror", None) or error
                    raise DataError(
                        f"{files.paths[index]} cannot be used: {what}. Repair or remove it, or leave such "
                        "recordings out with --skip-bad"
                    ) from error
                bad[index] = str(files.paths[index])
        return found

    looks = read_all(range(len(files.paths)), _look)
    if not looks:
        raise DataError(
            f"none of the {len(files.paths)} files of {recordings.source} is a WAV file: see --skip-bad"
        )
    rate, length = form([look.rate for look in looks.values()], [_seconds(look) for look in looks.values()])
    read = read_all(tuple(looks), lambda path: as_integers(sound.waveform(path, rate, length)))
    kept = np.array(sorted(read), np.int64)
    samples = np.stack([read.pop(index) for index in kept.tolist()])
    vectors = Vectors(
        samples,
        files.targets[kept],
        files.labels,
        recordings.source,
        None if files.given is None else files.given[kept],
        "recording",
    )
    parts = split_labelled(vectors, seed)
    notes = [f"each recording is {length / rate:.1f} s at {rate / 1000:g} kHz, mono"]
    notes += [recordings.note] if recordings.note else []
    notes += _remarks(samples, parts, [_seconds(looks[index]) for index in kept.tolist()], length / rate)
    if bad:
        listed = ", ".join(list(bad.values())[:_LISTED]) + (", ..." if len(bad) > _LISTED else "")
        notes.append(f"{len(bad)} unreadable recordings were left out: {listed}")
    targets = np.concatenate([vectors.targets[part] for part in parts])
    task = lay_out(
        WaveformTask,
        vectors,
        parts,
        targets,
        {},
        cache=cache,
        seed=seed,
        notes=notes,
        figures=((0.0,), (1.0,)),
        facts={"sample_rate": rate},
    )
    assert isinstance(task, WaveformTask)
    return task


def form(rates: Sequence[int], seconds: Sequence[float]) -> tuple[int, int]:
    """The rate (Hz) at which recordings of these rates and lengths are taken, and how many samples long."""
    rate = min(Counter(rates).most_common(1)[0][0], HIGHEST_RATE)
    within = math.ceil(float(np.quantile(seconds, 0.95)) / _STEP - 1e-6) * _STEP
    return rate, round(min(max(within, _STEP), LONGEST) * rate)


def as_integers(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples in -1..1 as integers; those of 16 bits as they were."""
    return np.rint(samples * FULL).clip(-FULL, FULL - 1).astype(np.int16)


def _remarks(
    samples: NDArray[np.int16], parts: Sequence[NDArray[np.int64]], seconds: Sequence[float], length: float
) -> list[str]:
    """What the user should know of the recordings themselves."""
    remarks = []
    longer = sum(each > length for each in seconds)
    if longer:
        remarks.append(f"{longer} recordings are longer: their loudest {length:.1f} s are taken")
    silent = len(samples) - np.count_nonzero(samples.any(axis=1))
    if silent:
        remarks.append(f"{silent} recordings are silent from beginning to end")
    digests = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in samples]
    shared = shared_samples(digests, parts)
    if shared:
        remarks.append(f"{shared} recordings of the validation or test split are also in an earlier split")
    return remarks


def _look(path: Path) -> sound.Layout:
    with path.open("rb") as handle:
        return sound.look(handle)


def _seconds(layout: sound.Layout) -> float:
    return layout.frames / layout.rate
