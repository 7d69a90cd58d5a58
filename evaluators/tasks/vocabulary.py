"""Vocabularies of word pieces: learnt from texts, or read from a ``transformers`` model's folder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from results.bundle.wordpiece import INSIDE, SPECIAL, UNKNOWN, WordPiece, words
from understudy import TeacherError

LARGEST = 8000
"""Pieces that are learnt at most: with a few thousand texts few others are seen often enough to be learnt from."""
_FEWEST = 2
"""A piece is learnt when it occurs so often."""
_VOCABULARY, _WHOLE, _CONFIG = "vocab.txt", "tokenizer.json", "tokenizer_config.json"


def learn_vocabulary(texts: Sequence[str]) -> WordPiece:
    """An uncased vocabulary of the most frequent pieces of texts; the same texts give the same.

    Single characters are handed to the learner in an order of our own: its own follows a random hash, and so would
    which of two equally frequent pieces is learnt.
    """
    from tokenizers import Tokenizer as Learner
    from tokenizers import models, normalizers, pre_tokenizers, trainers

    learner = Learner(models.WordPiece(unk_token=UNKNOWN))
    learner.normalizer = normalizers.BertNormalizer(lowercase=True)
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    seen = _characters(texts)
    trainer = trainers.WordPieceTrainer(
        vocab_size=LARGEST,
        min_frequency=_FEWEST,
        special_tokens=[*SPECIAL, *sorted(seen)],
        continuing_subword_prefix=INSIDE,
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    ids: dict[str, int] = learner.get_vocab()
    return WordPiece([piece for piece in sorted(ids, key=ids.__getitem__) if seen.get(piece, _FEWEST) >= _FEWEST])


def _characters(texts: Sequence[str]) -> Counter[str]:
    """How often each character begins a word, and how often (with ``INSIDE`` before it) it does not."""
    counts: Counter[str] = Counter()
    for text in texts:
        for word in words(text, lowercase=True):
            counts[word[0]] += 1
            counts.update(INSIDE + character for character in word[1:])
    return counts


def read_vocabulary(folder: Path) -> WordPiece:
    """The WordPiece tokenizer of a model's folder (``tokenizer.json``, or ``vocab.txt``), read as data.

    Raises ``TeacherError`` when there is none, it is of another kind, or its padding has not the id 0.
    """
    try:
        if (folder / _WHOLE).is_file():
            pieces, lowercase = _of_whole(json.loads((folder / _WHOLE).read_text(encoding="utf-8")))
            return WordPiece(pieces, lowercase)
        if (folder / _VOCABULARY).is_file():
            config = folder / _CONFIG
            facts = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
            return WordPiece.read(folder / _VOCABULARY, bool(facts.get("do_lower_case", True)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TeacherError(
            f"the tokenizer in {folder} cannot be used ({error}): students take the WordPiece tokens of BERT and "
            "its kin, padded with the first of the vocabulary; name a teacher with such"
        ) from error
    raise TeacherError(
        f"{folder} holds no tokenizer ({_WHOLE} or {_VOCABULARY}): save it there (tokenizer.save_pretrained)"
    )


def _of_whole(facts: dict[str, Any]) -> tuple[list[str], bool]:
    """The pieces by id in a ``tokenizer.json``, and whether it is uncased; raises ``ValueError`` for others."""
    model, normalizer = facts["model"], facts.get("normalizer") or {}
    splitter = (facts.get("pre_tokenizer") or {}).get("type")
    if model.get("type") != "WordPiece":
        raise ValueError(f"it is of the kind {model.get('type')}")
    if (normalizer.get("type"), splitter) != ("BertNormalizer", "BertPreTokenizer"):
        raise ValueError(f"it prepares texts by {normalizer.get('type')} and {splitter}, not as BERT does")
    lowercase = bool(normalizer["lowercase"])
    accents = normalizer.get("strip_accents")
    if accents not in (None, lowercase) or not normalizer.get("handle_chinese_chars", True):
        raise ValueError("it treats accents or ideographs in a way of its own")
    if (model["unk_token"], model["continuing_subword_prefix"]) != (UNKNOWN, INSIDE):
        raise ValueError(f"its unknown words are {model['unk_token']!r} and not {UNKNOWN!r}")
    ids: dict[str, int] = {**model["vocab"], **{each["content"]: each["id"] for each in facts["added_tokens"]}}
    if sorted(ids.values()) != list(range(len(ids))):
        raise ValueError("its ids are not those from 0 on, each once")
    return sorted(ids, key=ids.__getitem__), lowercase
