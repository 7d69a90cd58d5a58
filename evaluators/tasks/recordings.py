"""From a folder of WAV files to a prepared ``WaveformTask`` on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluators.tasks.folder import SUFFIXES, Labelled, labelled_files
from evaluators.tasks.heard import hear, remarks
from evaluators.tasks.prepare import OnBad
from evaluators.tasks.speakers import held_out, named
from evaluators.tasks.vectors import Vectors, lay_out, split_labelled
from evaluators.tasks.waveform_task import WaveformTask
from understudy import DataError

WAV = frozenset({".wav", ".wave"})


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
        stems = [path.stem for path in files.paths]
        said = None if files.given is not None else named(stems, labelled=False) or named(stems, labelled=True)
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
    heard = hear(files.paths, on_bad)
    given = None if files.given is None else files.given[heard.kept]
    vectors = Vectors(
        heard.samples, files.targets[heard.kept], files.labels, recordings.source, given, "recording"
    )
    parts = split_labelled(vectors, seed)
    notes = [*([recordings.note] if recordings.note else []), *remarks(heard, parts)]
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
        facts={"sample_rate": heard.rate},
    )
    assert isinstance(task, WaveformTask)
    return task
