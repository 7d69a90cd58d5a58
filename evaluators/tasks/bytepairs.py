"""Vocabularies of byte pairs: learnt from texts, or read from the folder of a GPT-2."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Any

from results.bundle.bytepair import ALPHABET, BytePair
from understudy import TeacherError

STEP, SMALLEST, LARGEST = 64, 512, 2048
"""Vocabularies that are learnt have a multiple of ``STEP`` pieces, between the other two."""
_WHOLE, _VOCABULARY, _MERGES = "tokenizer.json", "vocab.json", "merges.txt"


def learn_bytepairs(text: str) -> BytePair:
    """About as many pieces as the root of a text's length, the most frequent ones; the same text gives the same.

    With more, most would be seen too seldom to be learnt from.
    """
    from tokenizers import Tokenizer as Learner
    from tokenizers import models, pre_tokenizers, trainers

    learner = Learner(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    size = min(LARGEST, max(SMALLEST, STEP * round(sqrt(len(text)) / STEP)))
    trainer = trainers.BpeTrainer(
        vocab_size=size, min_frequency=2, initial_alphabet=sorted(ALPHABET), show_progress=False
    )
    learner.train_from_iterator(text.splitlines(keepends=True), trainer)
    return _bytepair(json.loads(learner.to_str())["model"])


def read_bytepairs(folder: Path) -> BytePair:
    """GPT-2's tokenizer in a model's folder (``tokenizer.json``, or ``vocab.json`` and ``merges.txt``), as data.

    Raises ``TeacherError`` when there is none, or it is of another kind.
    """
    try:
        if (folder / _WHOLE).is_file():
            return _of_whole(json.loads((folder / _WHOLE).read_text(encoding="utf-8")))
        if (folder / _VOCABULARY).is_file():
            lines = (folder / _MERGES).read_text(encoding="utf-8").splitlines()
            vocabulary = json.loads((folder / _VOCABULARY).read_text(encoding="utf-8"))
            merges = [line for line in lines if line and not line.startswith("#version")]
            return _bytepair({"vocab": vocabulary, "merges": merges})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TeacherError(
            f"the tokenizer in {folder} cannot be used ({error}): students take the byte-level BPE of GPT-2 and "
            "its kin; name a teacher with such"
        ) from error
    raise TeacherError(
        f"{folder} holds no tokenizer ({_WHOLE}, or {_VOCABULARY} and {_MERGES}): save it there "
        "(tokenizer.save_pretrained)"
    )


def _of_whole(facts: dict[str, Any]) -> BytePair:
    """Raises ``ValueError`` for a tokenizer that cuts texts in another way."""
    model, splitter = facts["model"], facts.get("pre_tokenizer") or {}
    if model.get("type") != "BPE" or facts.get("normalizer"):
        raise ValueError(f"it is of the kind {model.get('type')}, or changes texts first")
    if splitter.get("type") != "ByteLevel" or splitter.get("add_prefix_space") or not splitter.get("use_regex", 1):
        raise ValueError(f"it divides texts by {splitter.get('type')} in a way that is not GPT-2's")
    added = {each["content"]: each["id"] for each in facts.get("added_tokens", ())}
    return _bytepair({**model, "vocab": {**model["vocab"], **added}})


def _bytepair(model: dict[str, Any]) -> BytePair:
    """Of ids by piece, and merges as pairs or as texts with a space; raises ``ValueError`` for gaps among ids."""
    ids: dict[str, int] = model["vocab"]
    if sorted(ids.values()) != list(range(len(ids))):
        raise ValueError("its ids are not those from 0 on, each once")
    pairs: Sequence[str | Sequence[str]] = model["merges"]
    split = [pair.split(" ") if isinstance(pair, str) else pair for pair in pairs]
    return BytePair(sorted(ids, key=ids.__getitem__), [(left, right) for left, right in split])
