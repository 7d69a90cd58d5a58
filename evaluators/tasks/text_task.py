"""Classification of texts, as ids of word pieces.

Beside what every task on tokens has, its folder holds ``vocab.txt``, a piece a line, and ``texts.json``, the texts
themselves; ids are padded with 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from evaluators.distill.schedule import Schedule
from evaluators.tasks.task import Split
from evaluators.tasks.token_task import TokenTask
from results.bundle.wordpiece import VOCABULARY, WordPiece

FINAL_TEXTS, LEAST, MOST = 25_000, 4, 60
"""Texts that a finalist's training sees where the data allow, and how often it sees each."""


@dataclass(frozen=True, kw_only=True)
class TextTask(TokenTask):
    """Texts in classes; see ``TokenTask``. Start and end of a text are among its tokens; ``lowercase`` is as for
    ``WordPiece``.
    """

    kind: ClassVar[str] = "texts"
    space: ClassVar[str] = "text"

    lowercase: bool

    def images(self, split: Split, ids: ArrayLike, resolution: int, view: int = 0) -> Tensor:
        """Token ids of texts by number within a split, int64 (B, ``resolution``); ends of longer texts are cut."""
        rows: NDArray[np.int32] = self._ids[self._slice(split)][np.asarray(ids, np.int64)]
        return torch.from_numpy(shortened(rows, resolution, self._end)).to(torch.int64)

    def texts(self, split: Split) -> list[str]:
        """The texts of a split as the user gave them."""
        texts: list[str] = json.loads((self.folder / "texts.json").read_text(encoding="utf-8"))
        return texts[self._slice(split)]

    def final_schedule(self, epochs: int | None) -> Schedule:
        """About ``FINAL_TEXTS``: students that knew no word before soon know few texts by heart."""
        length = min(MOST, max(LEAST, round(FINAL_TEXTS / self.size("train")))) if epochs is None else epochs
        return super().final_schedule(length)

    def preprocess(self, resolution: int) -> dict[str, Any]:
        """What a device must do to a text, for the manifest of a bundle (see ``results.bundle.runner``)."""
        return {"length": resolution, "vocabulary": self.channels, "lowercase": self.lowercase}

    @property
    def sample(self) -> dict[str, Any]:
        """The pieces that there are, and how many of a text are read."""
        return {"vocabulary": self.channels, "tokens": self.image_size}

    @property
    def device_files(self) -> Mapping[str, Path]:
        """The vocabulary, by which a device tells the pieces of a text."""
        return {"vocabulary": self.folder / VOCABULARY}

    @cached_property
    def tokenizer(self) -> WordPiece:
        """What makes ids of a text."""
        return WordPiece.read(self.folder / VOCABULARY, self.lowercase)

    @cached_property
    def _end(self) -> int:
        return self.tokenizer.encode("", 2)[1]


def shortened(rows: NDArray[np.int32], length: int, end: int) -> NDArray[np.int32]:
    """Ids (B, T) as ``WordPiece.encode`` gives them for at most ``length`` tokens: (B, length)."""
    if length >= rows.shape[1]:
        return np.pad(rows, ((0, 0), (0, length - rows.shape[1])))
    short = rows[:, :length].copy()
    short[rows[:, length] != 0, -1] = end
    return short
