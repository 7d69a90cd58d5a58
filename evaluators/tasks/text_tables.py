"""Texts in tables: a file of comma- or tab-separated values, or a folder of train, dev and test files of such.

The first line may name the columns (``text`` and ``label``, or their like; ``split`` is train, val or test).
Without names there are two columns: a text and its label, in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluators.tasks.folder import SPLIT_NAMES
from evaluators.tasks.prepare import OnBad
from evaluators.tasks.table_lines import Line, is_unicode, table_lines
from evaluators.tasks.texts import Row, Texts, gather
from understudy import DataError, unknown_name

TEXT_COLUMNS = (
    *("text", "sentence", "review", "content", "comment", "message", "tweet", "document", "utterance", "question"),
    *("title", "headline", "phrase", "description"),
)
LABEL_COLUMNS = ("label", "labels", "class", "category", "sentiment", "target", "intent", "topic")
_SPLIT, _OTHERS = "split", ("id", "idx", "index", "")
_SUFFIXES = (".tsv", ".csv")
_LOOKED_AT = 50


@dataclass(frozen=True)
class _Columns:
    """Where text, label and split are in a line (-1: no split), how many values it has, and whether the first line
    names them."""

    text: int
    label: int
    split: int
    count: int
    named: bool


def is_text_folder(folder: Path) -> bool:
    """Whether a folder holds tables of texts that are named after splits."""
    files = _files(folder)
    return bool(files) and all(map(is_text_table, files))


def is_text_table(path: Path) -> bool:
    """Whether a file is a table of texts and not one of numbers."""
    if path.suffix == ".tsv":
        return True
    try:
        lines = table_lines(path, _LOOKED_AT)
        columns = _columns(path, lines)
    except DataError:
        return False
    values = [line.values[columns.text] for line in lines[columns.named :] if len(line.values) == columns.count]
    return not all(map(_is_number, values))


def read_texts(path: Path, on_bad: OnBad) -> Texts:
    """The texts of a table, or of the tables of a folder; raises ``DataError`` naming a line that is of no use."""
    if path.is_dir():
        files = _files(path)
        if "train" not in files.values():
            raise DataError(f"{path} holds {', '.join(file.name for file in files)} but no train table: add one")
        rows = (row for file, split in files.items() for row in _rows(file, split))
        return gather(rows, str(path), on_bad)
    return gather(_rows(path, ""), str(path), on_bad)


def _files(folder: Path) -> dict[Path, str]:
    """The tables of a folder that are named after a split."""
    files = {path: SPLIT_NAMES.get(path.stem.lower(), "") for path in sorted(folder.iterdir())}
    return {path: split for path, split in files.items() if split and path.suffix in _SUFFIXES}


def _rows(path: Path, split: str) -> Iterator[Row]:
    lines = table_lines(path)
    columns = _columns(path, lines)
    for line in lines[columns.named :]:
        where = f"line {line.number} of {path}"
        if len(line.values) != columns.count:
            yield Row("", "", split, where, f"has {len(line.values)} values where {columns.count} were expected")
            continue
        text, label = line.values[columns.text], line.values[columns.label].strip()
        problem = "" if is_unicode(text + label) else "is not UTF-8 text"
        given = line.values[columns.split].strip().lower() if columns.split >= 0 and not split else split
        if given and given not in SPLIT_NAMES:
            raise DataError(f"{where}: {unknown_name('split', given, SPLIT_NAMES)}")
        yield Row(text, label, SPLIT_NAMES.get(given, ""), where, problem)


def _columns(path: Path, lines: Sequence[Line]) -> _Columns:
    names = [value.strip().lower() for value in lines[0].values]
    if any(name in (*TEXT_COLUMNS, *LABEL_COLUMNS) for name in names):
        return _named(path, names)
    count = len(names)
    if count != 2:
        raise DataError(
            f"the first line of {path} has {count} values and names no column text or label: name the columns "
            "there, or keep a text and its label only"
        )
    pairs = [line.values for line in lines if len(line.values) == count]
    first, second = (len({pair[place] for pair in pairs}) for place in (0, 1))
    label = 0 if first < second else 1
    return _Columns(1 - label, label, -1, count, named=False)


def _named(path: Path, names: Sequence[str]) -> _Columns:
    label = next((names.index(name) for name in LABEL_COLUMNS if name in names), -1)
    if label < 0:
        raise DataError(f"{path} has no column {LABEL_COLUMNS[0]!r}: it has {', '.join(names)}; rename one")
    split = names.index(_SPLIT) if _SPLIT in names else -1
    known = [names.index(name) for name in TEXT_COLUMNS if name in names and names.index(name) != label]
    others = [n for n, name in enumerate(names) if n not in (label, split) and name not in _OTHERS]
    if not known and len(others) != 1:
        raise DataError(f"{path} has no column {TEXT_COLUMNS[0]!r}: it has {', '.join(names)}; rename one")
    return _Columns(known[0] if known else others[0], label, split, len(names), True)


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return not value.strip()
    return True
