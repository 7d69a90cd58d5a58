"""From texts as a user has them to a prepared ``TextTask`` on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.tasks.prepare import OnBad
from evaluators.tasks.split import divide, shared_samples
from evaluators.tasks.task import SPLITS
from evaluators.tasks.text_task import TextTask
from evaluators.tasks.vocabulary import learn_vocabulary
from evaluators.tasks.whole_folder import whole_folder
from results.bundle.wordpiece import VOCABULARY, WordPiece
from understudy import DataError

STEP, SHORTEST, LONGEST = 8, 8, 128
"""Lengths are multiples of ``STEP`` tokens; where the user gives none, between the other two."""
_COVERED = 0.95
_LISTED = 5


@dataclass(frozen=True)
class Row:
    """A text as it was found: ``split`` is train, val, test or nothing, ``where`` says in a message where it is;
    ``problem`` is what makes the row useless, if anything does."""

    text: str
    label: str
    split: str
    where: str
    problem: str = ""


@dataclass(frozen=True)
class Texts:
    """Texts with classes: ``targets`` int64 (N,) index ``labels``; ``given`` is the split of each where they come
    divided; ``source`` is what to call them in a message; ``notes`` are what the user should know of them."""

    texts: tuple[str, ...]
    targets: NDArray[np.int64]
    labels: tuple[str, ...]
    source: str
    given: NDArray[np.str_] | None = None
    notes: tuple[str, ...] = ()


def gather(rows: Iterable[Row], source: str, on_bad: OnBad) -> Texts:
    """The texts of rows; classes in alphabetical order, or by size where all are numbers.

    Raises ``DataError`` for a row without a text or a label (``on_bad="skip"`` leaves such out and notes it), for
    data without usable rows, and for a class that training lacks.
    """
    kept, bad = [], []
    for row in rows:
        problem = row.problem or _problem(row)
        if not problem:
            kept.append(row)
        elif on_bad == "refuse":
            raise DataError(f"{row.where} {problem}: mend or remove it, or leave such out with --skip-bad")
        else:
            bad.append(row.where)
    if not kept:
        raise DataError(f"{source} holds no texts with labels: it needs a text and its label in each row")
    divided = any(row.split for row in kept)
    labels = _in_order({row.label for row in kept if not divided or row.split == "train"})
    strangers = sorted({row.label for row in kept} - set(labels))
    if strangers:
        raise DataError(
            f"class {strangers[0]!r} of {source} has no text in the training split: add some there, or remove it"
        )
    numbers = {label: number for number, label in enumerate(labels)}
    listed = ", ".join(bad[:_LISTED]) + (", ..." if len(bad) > _LISTED else "")
    return Texts(
        tuple(row.text for row in kept),
        np.array([numbers[row.label] for row in kept], np.int64),
        labels,
        source,
        np.array([row.split for row in kept], "<U5") if divided else None,
        (f"{len(bad)} rows were left out: {listed}",) if bad else (),
    )


def create_text_task(
    texts: Texts,
    *,
    cache: Path,
    seed: int,
    length: int | None = None,
    tokenizer: WordPiece | None = None,
    least_classes: int = 2,
) -> TextTask:
    """Prepare texts as a task in a folder of ``cache``, or open it there if it was prepared before.

    ``length`` is the most tokens of a text that are read; by default that of 95 % of the training texts, a
    multiple of 8 in 8..128. Without a ``tokenizer`` a vocabulary is learnt from the training texts. Raises
    ``DataError`` for fewer than ``least_classes`` and for a class too small to split.
    """
    if len(texts.labels) < least_classes:
        raise DataError(
            f"{texts.source} has fewer than two classes ({', '.join(texts.labels)}): add texts of another"
        )
    if length is not None and length < SHORTEST:
        raise DataError(f"texts are read up to at least {SHORTEST} tokens, but --image-size is {length}: raise it")
    parts = divide(texts.targets, texts.given, texts.labels, seed)
    order = np.concatenate(parts)
    tokenizer = tokenizer or learn_vocabulary([texts.texts[index] for index in parts[0]])
    pieces = [tokenizer.ids(texts.texts[index]) for index in order]
    counts = np.array([len(each) + 2 for each in pieces])
    length = length or _usual(counts[: len(parts[0])])
    facts: dict[str, Any] = {
        "labels": texts.labels,
        "channels": len(tokenizer.pieces),
        "image_size": length,
        "lowercase": tokenizer.lowercase,
        "counts": dict(zip(SPLITS, map(len, parts), strict=True)),
        "seed": seed,
    }
    start, end = tokenizer.encode("", 2)
    ids = np.zeros((len(order), length), np.int32)
    for row, each in zip(ids, pieces, strict=True):
        cut = [start, *each[: length - 2], end]
        row[: len(cut)] = cut
    vocabulary = "".join(f"{piece}\n" for piece in tokenizer.pieces)
    targets = texts.targets[order]
    said = json.dumps([texts.texts[index] for index in order])
    digest = hashlib.blake2b(json.dumps([facts, vocabulary, said]).encode(), digest_size=12)
    digest.update(ids.data)
    digest.update(targets.data)
    fingerprint = digest.hexdigest()
    folder = cache / fingerprint
    if not (folder / "task.json").exists():
        with whole_folder(folder) as draft:
            np.save(draft / "ids.npy", ids)
            np.save(draft / "targets.npy", targets)
            (draft / "texts.json").write_text(said, encoding="utf-8")
            (draft / VOCABULARY).write_text(vocabulary, encoding="utf-8")
        notes = (*texts.notes, *_notes(texts, parts, counts, length))
        TextTask(folder=folder, fingerprint=fingerprint, notes=notes, **facts).save()
    return TextTask.open(folder)


def _problem(row: Row) -> str:
    if not row.label:
        return "has no label"
    return "" if row.text.strip() else "has no text"


def _in_order(labels: set[str]) -> tuple[str, ...]:
    numbers = all(label.isdecimal() and label.isascii() for label in labels)
    return tuple(sorted(labels, key=int) if numbers else sorted(labels))


def _usual(counts: NDArray[np.int64]) -> int:
    """The length that ``_COVERED`` of the texts do not exceed, as a multiple of ``STEP`` within its bounds."""
    needed = float(np.quantile(counts, _COVERED))
    return int(min(LONGEST, max(SHORTEST, STEP * -(-needed // STEP))))


def _notes(
    texts: Texts, parts: Sequence[NDArray[np.int64]], counts: NDArray[np.int64], length: int
) -> tuple[str, ...]:
    """What the user should know: cut texts, texts in two splits, classes that a split lacks."""
    notes = []
    if cut := int((counts > length).sum()):
        notes.append(f"{cut} of {len(counts)} texts have more than {length} tokens: their ends are not read")
    digests = [hashlib.blake2b(" ".join(text.split()).encode(), digest_size=16).digest() for text in texts.texts]
    if shared := shared_samples(digests, parts):
        notes.append(f"{shared} texts of the validation or test split are also in an earlier split")
    for name, part in zip(SPLITS[1:], parts[1:], strict=True):
        present = set(texts.targets[part].tolist())
        absent = [label for number, label in enumerate(texts.labels) if number not in present]
        if absent:
            listed = ", ".join(absent[:_LISTED]) + (", ..." if len(absent) > _LISTED else "")
            notes.append(f"the {name} split has no text of class {listed}: its accuracy says nothing of those")
    return tuple(notes)
