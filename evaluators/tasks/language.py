"""From plain text as a user has it to a prepared ``LanguageTask`` on disk.

A text is a ``.txt`` file, or a folder of such: train, val and test, or parts of one text in the order of their
names.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluators.tasks.bytepairs import learn_bytepairs
from evaluators.tasks.folder import SPLIT_NAMES
from evaluators.tasks.language_task import LanguageTask
from evaluators.tasks.prepare import OnBad
from evaluators.tasks.task import SPLITS
from evaluators.tasks.whole_folder import whole_folder
from results.bundle.bytepair import PIECES, BytePair
from understudy import DataError

SUFFIX = ".txt"
HELD_OUT = 0.1
"""The share of a text, at its end, that tests, and as much before it that validates, where it comes undivided."""
WINDOW, SHORTEST, FEWEST = 128, 16, 8
"""Tokens of a window where the user names none; the fewest that it may have, and windows that each part should."""


@dataclass(frozen=True)
class Prose:
    """A text: ``parts`` by split, or all of it under an empty name; ``source`` is what to call it."""

    parts: dict[str, str]
    source: str
    notes: tuple[str, ...] = ()


def is_prose(path: Path) -> bool:
    """Whether a path is a text to go on with: a ``.txt`` file, or a folder of nothing else."""
    if not path.is_dir():
        return path.suffix == SUFFIX
    files = [file for file in path.iterdir() if not file.name.startswith(".")]
    return bool(files) and all(file.suffix == SUFFIX and file.is_file() for file in files)


def read_prose(path: Path, on_bad: OnBad) -> Prose:
    """The text of a file, or of the files of a folder.

    Raises ``DataError`` naming a file that cannot be read, is not UTF-8 or is empty (``on_bad="skip"`` leaves out
    such files of a folder and notes it), and for other files beside a train part.
    """
    if not path.is_dir():
        return Prose({"": _read(path)}, str(path))
    held, bad = {}, []
    for file in sorted(path.glob(f"*{SUFFIX}")):
        try:
            held[file.stem.lower()] = _read(file)
        except DataError:
            if on_bad == "refuse":
                raise
            bad.append(file.name)
    notes = (f"{len(bad)} files were left out: {', '.join(bad[:5])}",) if bad else ()
    if not held:
        raise DataError(f"{path} holds no text that can be read: add {SUFFIX} files in UTF-8")
    if not any(SPLIT_NAMES.get(name) == "train" for name in held):
        return Prose({"": "\n".join(held.values())}, str(path), notes)
    strangers = [name for name in held if name not in SPLIT_NAMES]
    if strangers:
        raise DataError(
            f"{path} holds a train file and {strangers[0]}{SUFFIX}: name the others val and test, or none train"
        )
    return Prose({SPLIT_NAMES[name]: text for name, text in held.items()}, str(path), notes)


def create_language_task(
    prose: Prose, *, cache: Path, seed: int, window: int | None = None, tokenizer: BytePair | None = None
) -> LanguageTask:
    """Prepare a text as a task in a folder of ``cache``, or open it there if it was prepared before.

    ``window`` is how many tokens are seen at once, by default the largest power of two, 128 at most, of which each
    part has 8. Without a ``tokenizer`` pieces are learnt from the training part. Raises ``DataError`` for a text
    that is too short.
    """
    texts = _divided(prose.parts)
    tokenizer = tokenizer or learn_bytepairs(texts["train"])
    tokens = {name: np.array(tokenizer.encode(texts[name]), np.int32) for name in SPLITS}
    window = window or _usual(min(map(len, tokens.values())))
    for name, found in tokens.items():
        if len(found) <= (2 if name == "train" else 1) * window:
            raise DataError(
                f"{prose.source} is too short: its {name} part has {len(found)} tokens, and a window takes "
                f"{window + 1}, of which train needs two; give it more text, or see fewer at once "
                f"(--image-size, at least {SHORTEST})"
            )
    counts = {name: (len(found) - 1) // window for name, found in tokens.items()}
    cut = [(found, count * window) for found, count in zip(tokens.values(), counts.values(), strict=True)]
    ids = np.concatenate([found[:end].reshape(-1, window) for found, end in cut])
    targets = np.concatenate([found[1 : end + 1].reshape(-1, window) for found, end in cut])
    facts: dict[str, Any] = {
        "labels": (),
        "channels": len(tokenizer.pieces),
        "image_size": window,
        "counts": counts,
        "seed": seed,
        "bytes_per_token": round(len(texts["test"].encode()) / len(tokens["test"]), 4),
    }
    digest = hashlib.blake2b(json.dumps([facts, tokenizer.pieces]).encode(), digest_size=12)
    digest.update(ids.data)
    digest.update(targets.data)
    fingerprint = digest.hexdigest()
    folder = cache / fingerprint
    if not (folder / "task.json").exists():
        with whole_folder(folder) as draft:
            np.save(draft / "ids.npy", ids)
            np.save(draft / "targets.npy", targets)
            tokenizer.write(draft / PIECES)
        LanguageTask(folder=folder, fingerprint=fingerprint, notes=prose.notes, **facts).save()
    return LanguageTask.open(folder)


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the path") from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line}: byte {error.start} is not UTF-8: save it as UTF-8 (`iconv -t UTF-8`), or in a "
            "folder leave such files out with --skip-bad"
        ) from error
    if not text.strip():
        raise DataError(f"{path} is empty: give it text to learn from")
    return text.replace("\r\n", "\n")


def _divided(parts: dict[str, str]) -> dict[str, str]:
    """The text of each split: those that are missing are cut from the end of what teaches."""
    found = dict(parts)
    rest = found.pop("", None) or found.pop("train")
    held = round(HELD_OUT * len(rest))
    for name in ("test", "val"):
        if name not in found:
            rest, found[name] = rest[:-held], rest[-held:]
    return {**found, "train": rest}


def _usual(fewest: int) -> int:
    """The window where the user names none, for parts of at least so many tokens."""
    window = WINDOW
    while window > SHORTEST and fewest <= FEWEST * window:
        window //= 2
    return window
