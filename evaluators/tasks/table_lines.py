"""The lines of a table of comma- or tab-separated values, in UTF-8."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from understudy import DataError


@dataclass(frozen=True)
class Line:
    """The values of a line, and its number in the file, from 1."""

    number: int
    values: list[str]


def table_lines(path: Path, most: int | None = None) -> list[Line]:
    """The lines of a table that are not empty, at most so many; bytes that are no UTF-8 come as lone surrogates.

    Raises ``DataError`` for a file that cannot be read or holds none.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the path") from error
    if b"\0" in content[:4096]:
        raise DataError(f"{path} is not UTF-8 text, perhaps UTF-16: save it as UTF-8")
    text = content.decode("utf-8-sig", errors="surrogateescape")
    read = _tabbed(text) if path.suffix == ".tsv" else _comma_separated(path, text)
    lines = []
    for line in read:
        if any(value.strip() for value in line.values):
            lines.append(line)
        if most is not None and len(lines) >= most:
            break
    if not lines:
        raise DataError(f"{path} holds no rows")
    return lines


def _tabbed(text: str) -> Iterator[Line]:
    """Quotes are part of a text unless they are around it whole, as spreadsheets write them."""
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        yield Line(number, [_unquoted(value) for value in line.split("\t")])


def _unquoted(value: str) -> str:
    inside = value[1:-1]
    quoted = len(value) > 1 and value[0] == value[-1] == '"' and '"' not in inside.replace('""', "")
    return inside.replace('""', '"') if quoted else value


def _comma_separated(path: Path, text: str) -> Iterator[Line]:
    reader = csv.reader(io.StringIO(text, newline=""))
    before = 0
    try:
        for values in reader:
            yield Line(before + 1, values)
            before = reader.line_num
    except csv.Error as error:
        raise DataError(
            f"line {before + 1} of {path} cannot be read as comma-separated values ({error}): is a quote left "
            "open?"
        ) from error


def is_unicode(text: str) -> bool:
    """Whether a text came of nothing but UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
