"""Texts to token ids and back by byte-level BPE, as GPT-2 does, with Python alone.

Sennrich et al., 2016, arXiv:1508.07909; Radford et al., 2019, "Language Models are Unsupervised Multitask
Learners".

Beside ``run.py`` in a bundle whose student goes on with texts; the search prepares its data with this very code.
Every text has tokens, since every byte has, and tokens give back the very bytes. Gives the ids of Hugging Face's
``tokenizers``, but reads names of special tokens in a text (``<|endoftext|>``) as plain text.
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

PIECES = "bytepair.json"
"""The file of a bundle that holds pieces and merges."""
END = "<|endoftext|>"
"""The piece with which a text ends, where a vocabulary has it; no text is cut into it."""

_WORDS = re.compile(
    r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+",
    re.ASCII,
)


def _alphabet() -> tuple[str, ...]:
    """By byte the character that stands for it in pieces: itself where it is printable, else one from 256 on."""
    plain = (*range(33, 127), *range(161, 173), *range(174, 256))
    others = [byte for byte in range(256) if byte not in plain]
    return tuple(chr(byte if byte in plain else 256 + others.index(byte)) for byte in range(256))


ALPHABET = _alphabet()
_BYTES: Mapping[str, int] = {character: byte for byte, character in enumerate(ALPHABET)}


class BytePair:
    """A vocabulary of pieces, and the merges by which texts are cut into them, the first to be done first.

    ``pieces`` are by id, in characters of ``ALPHABET``; ``end`` is the id of ``END``, or None. Raises
    ``ValueError`` for a vocabulary that lacks a byte or what a merge gives, or that holds a piece twice.
    """

    def __init__(self, pieces: Sequence[str], merges: Sequence[tuple[str, str]]) -> None:
        self.pieces, self.merges = tuple(pieces), tuple(merges)
        self._ids = {piece: number for number, piece in enumerate(self.pieces)}
        made = [left + right for left, right in self.merges]
        missing = [piece for piece in (*ALPHABET, *made) if piece not in self._ids]
        if missing or len(self._ids) < len(self.pieces):
            raise ValueError(f"the vocabulary {f'lacks {missing[0]!r}' if missing else 'holds a piece twice'}")
        self.end = self._ids.get(END)
        self._ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        self._cut = lru_cache(maxsize=1 << 16)(self._pieces_of)

    @staticmethod
    def read(path: str | Path) -> BytePair:
        """The vocabulary in a file that ``write`` made; raises ``ValueError`` for another, and ``OSError``."""
        held = json.loads(Path(path).read_text(encoding="utf-8"))
        try:
            merges = [(left, right) for left, right in (pair.split(" ") for pair in held["merges"])]
            return BytePair(held["pieces"], merges)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it lacks pieces or merges ({error!r})") from error

    def write(self, path: str | Path) -> None:
        """Write the vocabulary to a file."""
        held = {"pieces": self.pieces, "merges": [" ".join(pair) for pair in self.merges]}
        Path(path).write_text(json.dumps(held, ensure_ascii=False), encoding="utf-8")

    def encode(self, text: str) -> list[int]:
        """The ids of a text; raises ``ValueError`` for one that has no bytes (lone surrogates)."""
        return [number for word in words(text) for number in self._cut(word)]

    def decode(self, ids: Iterable[int]) -> bytes:
        """The bytes of tokens, which need not end with a whole character; the end of a text has none."""
        kept = "".join(self.pieces[number] for number in ids if number != self.end)
        return bytes(_BYTES[character] for character in kept)

    def text(self, ids: Iterable[int]) -> str:
        """The text of tokens; bytes that make no character become U+FFFD."""
        return self.decode(ids).decode("utf-8", "replace")

    def stream(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of tokens as they come; the bytes of an unfinished character are held back till it is whole."""
        unfinished = codecs.getincrementaldecoder("utf-8")("replace")
        for number in ids:
            if said := unfinished.decode(self.decode([number])):
                yield said
        if rest := unfinished.decode(b"", True):
            yield rest

    def _pieces_of(self, word: str) -> tuple[int, ...]:
        """The bytes of a word, the pair that is merged first made one until there is none."""
        parts = [ALPHABET[byte] for byte in word.encode("utf-8", "surrogateescape")]
        while len(parts) > 1:
            ranks = [self._ranks.get(pair, len(self._ranks)) for pair in pairwise(parts)]
            best = min(ranks)
            if best == len(self._ranks):
                break
            place = ranks.index(best)
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        return tuple(self._ids[part] for part in parts)


def words(text: str) -> Iterator[str]:
    """The parts of a text that are cut each by itself: words, numbers and the rest, with a space before them."""
    plain = text if text.isascii() else text.translate(_PLAIN)
    for found in _WORDS.finditer(plain):
        yield text[found.start() : found.end()]


class _Plain(dict[int, str]):
    """By code point a character of ASCII that ``_WORDS`` takes as it would this one."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kind = unicodedata.category(character)[0]
        plain = {"L": "a", "N": "0"}.get(kind, "\t" if character.isspace() else "!")
        self[code] = character if code < 128 else plain
        return self[code]


_PLAIN = _Plain()
