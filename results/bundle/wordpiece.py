"""Texts to token ids by WordPiece, as BERT does (Devlin et al., 2019, arXiv:1810.04805), with Python alone.

Beside ``run.py`` in a bundle whose student takes texts; the search prepares its data with this very code. Gives
the ids of Hugging Face's ``tokenizers``, but reads names of special tokens in a text (``[SEP]``) as plain text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

VOCABULARY = "vocab.txt"
"""The file of a bundle that holds the pieces, one a line."""
PAD, UNKNOWN, START, END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
SPECIAL = (PAD, UNKNOWN, START, END)
"""The tokens that a vocabulary must hold; ``PAD`` is its first."""
INSIDE = "##"
"""Begins the name of a piece that does not begin a word."""
LONGEST_WORD = 100
"""A word of more characters is unknown."""

_ASCII_WORDS = re.compile(r"[0-9A-Za-z]+|[!-/:-@\[-`{-~]")
_CONTROL = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127))
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
"""Of Chinese, each a word of its own."""


class WordPiece:
    """A vocabulary of pieces and how texts are cut into them.

    ``pieces`` are by id; ``lowercase`` also takes accents off, as uncased models do. Raises ``ValueError`` for a
    vocabulary that lacks a special token, holds a piece twice, or does not begin with ``[PAD]``.
    """

    def __init__(self, pieces: Sequence[str], lowercase: bool = True) -> None:
        self.pieces, self.lowercase = tuple(pieces), lowercase
        self._ids = {piece: number for number, piece in enumerate(self.pieces)}
        missing = [token for token in SPECIAL if token not in self._ids]
        if missing or self.pieces[0] != PAD or len(self._ids) < len(self.pieces):
            fault = (
                f"lacks {', '.join(missing)}" if missing else f"holds a piece twice or has no {PAD} as its first"
            )
            raise ValueError(f"the vocabulary {fault}")
        self._start, self._end, self._unknown = (self._ids[token] for token in (START, END, UNKNOWN))
        self._cut = lru_cache(maxsize=1 << 16)(self._pieces_of)

    @staticmethod
    def read(path: str | Path, lowercase: bool) -> WordPiece:
        """The vocabulary in a file, a piece a line; raises ``ValueError`` where it is none, and ``OSError``."""
        lines = Path(path).read_text(encoding="utf-8").rstrip("\n").split("\n")
        return WordPiece(lines, lowercase)

    def encode(self, text: str, length: int) -> list[int]:
        """``length`` ids of a text: start, its pieces, end, then ``PAD`` (0); a longer text loses its end."""
        ids = [self._start, *self.ids(text, length - 2), self._end]
        return ids + [0] * (length - len(ids))

    def ids(self, text: str, most: int | None = None) -> list[int]:
        """The ids of a text's pieces, without start and end; at most so many."""
        found: list[int] = []
        for word in words(text, self.lowercase):
            found.extend(self._cut(word))
            if most is not None and len(found) >= most:
                return found[:most]
        return found

    def _pieces_of(self, word: str) -> tuple[int, ...]:
        """The longest piece that the word begins with, and so on with its rest."""
        if len(word) > LONGEST_WORD:
            return (self._unknown,)
        found, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = self._ids.get((INSIDE if start else "") + word[start:end])
                if piece is not None:
                    break
            else:
                return (self._unknown,)
            found.append(piece)
            start = end
        return tuple(found)


def words(text: str, lowercase: bool) -> Iterator[str]:
    """The words of a text; each punctuation mark and each ideograph is one."""
    if text.isascii():  # as below, an eighth of the time
        plain = text.translate(_CONTROL)
        yield from _ASCII_WORDS.findall(plain.lower() if lowercase else plain)
        return
    word: list[str] = []
    for character in normalised(text, lowercase):
        if character.isspace() or _is_alone(character):
            if word:
                yield "".join(word)
                word = []
            if not character.isspace():
                yield character
        else:
            word.append(character)
    if word:
        yield "".join(word)


def normalised(text: str, lowercase: bool) -> str:
    """The text without control characters; in small letters without accents, if asked."""
    clean = "".join(" " if char.isspace() else char for char in text if not _is_dropped(char))
    if not lowercase:
        return clean
    spaced = "".join(f" {char} " if _is_ideograph(char) else char for char in clean)
    bare = "".join(char for char in unicodedata.normalize("NFD", spaced) if unicodedata.category(char) != "Mn")
    return "".join(map(str.lower, bare))


@lru_cache(maxsize=1 << 14)
def _is_dropped(character: str) -> bool:
    if character in "\t\n\r":
        return False
    return character in "\0\ufffd" or unicodedata.category(character) in ("Cc", "Cf", "Co")


@lru_cache(maxsize=1 << 14)
def _is_alone(character: str) -> bool:
    code = ord(character)
    symbol = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    return symbol or unicodedata.category(character).startswith("P") or _is_ideograph(character)


def _is_ideograph(character: str) -> bool:
    code = ord(character)
    return code >= 0x3400 and any(first <= code <= last for first, last in _IDEOGRAPHS)
