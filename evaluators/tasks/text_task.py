"""Classification of texts, as ids of word pieces.

Beside what every task has, its folder holds ``ids.npy``, int32 (N, T), of train, then val, then test samples,
padded with 0, ``vocab.txt``, a piece a line, and ``texts.json``, the texts themselves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from evaluators.distill.schedule import Optimiser
from evaluators.tasks.augment import POLICIES, Augment
from evaluators.tasks.task import Split, Task, read_facts
from results.bundle.wordpiece import VOCABULARY, WordPiece
from results.store import write_atomically

_FACTS = ("kind", "labels", "channels", "image_size", "lowercase", "counts", "seed", "fingerprint", "notes")


@dataclass(frozen=True)
class TextTask(Task):
    """Texts in classes; see ``Task``. ``channels`` is the size of the vocabulary, ``image_size`` the most
    tokens of a text, its start and end among them; ``lowercase`` is as for ``WordPiece``. All views are the same.
    """

    kind: ClassVar[str] = "texts"
    space: ClassVar[str] = "text"
    tokens: ClassVar[bool] = True
    optimiser: ClassVar[Optimiser] = "adamw"

    folder: Path
    labels: tuple[str, ...]
    channels: int
    image_size: int
    lowercase: bool
    counts: Mapping[str, int]
    seed: int
    fingerprint: str
    notes: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    augment: Augment = POLICIES["none"]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The task prepared in a folder; raises ``DataError`` when there is none."""
        facts = read_facts(folder)
        sequences = {name: tuple(facts[name]) for name in ("labels", "notes")}
        given = {name: facts[name] for name in _FACTS if name != "kind"}
        return cls(**{**given, **sequences, "folder": folder})

    def save(self) -> None:
        """Write ``task.json``; the folder is complete from then on."""
        facts = {name: getattr(self, name) for name in _FACTS}
        write_atomically(self.folder / "task.json", json.dumps(facts, indent=1).encode())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).open, (self.folder,)

    def images(self, split: Split, ids: ArrayLike, resolution: int, view: int = 0) -> Tensor:
        """Token ids of texts by number within a split, int64 (B, ``resolution``); ends of longer texts are cut."""
        rows: NDArray[np.int32] = self._ids[self._slice(split)][np.asarray(ids, np.int64)]
        return torch.from_numpy(shortened(rows, resolution, self._end)).to(torch.int64)

    def batch(self, split: Split, ids: ArrayLike, resolution: int, view: int = 0) -> Tensor:
        """As ``images``: a student takes what its teacher does."""
        return self.images(split, ids, resolution, view)

    def texts(self, split: Split) -> list[str]:
        """The texts of a split as the user gave them."""
        texts: list[str] = json.loads((self.folder / "texts.json").read_text(encoding="utf-8"))
        return texts[self._slice(split)]

    def preprocess(self, resolution: int) -> dict[str, Any]:
        """What a device must do to a text, for the manifest of a bundle (see ``results.bundle.runner``)."""
        return {"length": resolution, "vocabulary": self.channels, "lowercase": self.lowercase}

    @property
    def sizes(self) -> dict[str, Any]:
        """As of any task, and that samples are tokens."""
        return {**super().sizes, "tokens": True}

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

    @cached_property
    def _ids(self) -> NDArray[np.int32]:
        ids: NDArray[np.int32] = np.load(self.folder / "ids.npy", mmap_mode="r", allow_pickle=False)
        return ids


def shortened(rows: NDArray[np.int32], length: int, end: int) -> NDArray[np.int32]:
    """Ids (B, T) as ``WordPiece.encode`` gives them for at most ``length`` tokens: (B, length)."""
    if length >= rows.shape[1]:
        return np.pad(rows, ((0, 0), (0, length - rows.shape[1])))
    short = rows[:, :length].copy()
    short[rows[:, length] != 0, -1] = end
    return short
