"""Going on with a text: what comes after each of its tokens.

A sample is a window of consecutive tokens, and its targets are the same tokens one place later; windows do not
overlap. Beside what every task on tokens has, the folder holds ``bytepair.json``, by which texts are cut; its
``targets.npy`` is int32 (N, T).
"""

from __future__ import annotations

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
from results.bundle.bytepair import PIECES, BytePair
from spaces.decoder import LARGE_VOCABULARY

KEPT = 32
"""Of the teacher's answers to training tokens so many of the likeliest are kept, and how likely all others are
together: a vocabulary's worth a token would fill disks."""
BATCH_TOKENS, STEPS = 2048, 64
"""Tokens of a training step, and steps that even a short text is to make: fewer tokens then."""
SEARCH_TOKENS, FINAL_TOKENS = 750_000, 3_000_000
"""Tokens that the trainings of a candidate and of a finalist see, where the data allow."""
_RATES, _DECAY = (2e-3, 1e-3), 0.01
"""Learning rates of small students and of the larger ones of a large vocabulary, and weight decay of both."""
_ENTRIES = 2**24
"""Numbers of an answer that are held at once where nothing is learnt."""


@dataclass(frozen=True, kw_only=True)
class LanguageTask(TokenTask):
    """See ``TokenTask``; ``image_size`` is the window. Classes are the tokens, and have no names.

    What is kept of answers (B, T, tokens) is, of val and test, (B, T, 2): the logarithm of the probability of the
    token that comes next, and the number of the likeliest; of train, (B, T, 2 * ``KEPT``): numbers of the
    likeliest tokens, and the logarithms of their probabilities.
    """

    kind: ClassVar[str] = "running text"
    space: ClassVar[str] = "language"
    distill: ClassVar[str] = "soft-targets:temperature=1,weight=0.5"
    dense: ClassVar[bool] = True
    metric: ClassVar[str] = "perplexity"

    bytes_per_token: float

    @property
    def classes(self) -> int:
        """Tokens that may come next."""
        return self.channels

    @property
    def sizes(self) -> dict[str, Any]:
        """As of any task on tokens, with an answer for each."""
        return {**super().sizes, "dense": True}

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """Of the answer to a window: (T, tokens)."""
        return (self.image_size, self.channels)

    @property
    def sample(self) -> dict[str, Any]:
        """The pieces that there are, and how many tokens are seen at once."""
        return {"vocabulary": self.channels, "window": self.image_size, "bytes_per_token": self.bytes_per_token}

    def images(self, split: Split, ids: ArrayLike, resolution: int, view: int = 0) -> Tensor:
        """Windows by number within a split, int64 (B, T)."""
        return torch.from_numpy(self._ids[self._slice(split)][np.asarray(ids, np.int64)]).to(torch.int64)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Of every window it is known how it goes on."""
        return np.ones(self.size("train"), bool)

    def taught(self, ids: NDArray[np.int64], view: int) -> Tensor:
        """What comes next in training windows, int64 (B, T)."""
        return torch.from_numpy(self.targets("train")[ids]).to(torch.int64)

    def kept(self, logits: Tensor, split: Split, ids: ArrayLike) -> Tensor:
        """See the class, of logits (B, T, tokens)."""
        shares = logits.log_softmax(-1)
        if split == "train":
            best = shares.topk(min(KEPT, self.channels - 1))
            return torch.cat((best.indices.to(shares.dtype), best.values), -1)
        wanted = torch.from_numpy(self.targets(split)[np.asarray(ids, np.int64)]).to(logits.device, torch.int64)
        return torch.stack((shares.gather(-1, wanted[..., None])[..., 0], shares.argmax(-1).to(shares.dtype)), -1)

    def kept_shape(self, split: Split) -> tuple[int, ...]:
        """Of what is kept of the answer to one window."""
        return (self.image_size, 2 * min(KEPT, self.channels - 1) if split == "train" else 2)

    def restored(self, kept: Tensor) -> Tensor:
        """Logarithms of probabilities (B, T, tokens) of what was kept; others share the rest by frequency."""
        numbers, shares = kept.chunk(2, -1)
        numbers, frequencies = numbers.to(torch.int64), self._frequencies.to(kept.device)
        rest = (1 - shares.exp().sum(-1, keepdim=True)).clamp(min=1e-6)
        others = (1 - frequencies[numbers].sum(-1, keepdim=True)).clamp(min=1e-6)
        return (frequencies.log() + (rest / others).log()).scatter(-1, numbers, shares)

    @cached_property
    def _frequencies(self) -> Tensor:
        """Shares (tokens,) of what comes next in the training text; what never does counts as if it did once."""
        counts = np.bincount(self.targets("train").ravel(), minlength=self.channels) + 1
        return torch.from_numpy((counts / counts.sum()).astype(np.float32))

    def score(self, logits: Tensor | NDArray[np.float32], targets: Tensor | NDArray[Any]) -> float:
        """One over the perplexity: the geometric mean of the probabilities of what came next.

        ``logits`` is what is kept of them, (N, T, 2); ``targets`` went into it.
        """
        return float(torch.as_tensor(logits)[..., 0].double().mean().exp())

    def agreement(self, logits: Tensor, others: Tensor | NDArray[np.float32]) -> float:
        """Share of places where two networks hold the same token for the likeliest, of what is kept, (N, T, 2)."""
        return float((logits[..., 1] == torch.as_tensor(others)[..., 1]).double().mean())

    @property
    def answered_at_once(self) -> int:
        """Windows of a batch of which nothing is learnt."""
        return max(1, min(64, _ENTRIES // (self.image_size * self.channels)))

    def search_schedule(self, epochs: int | None) -> Schedule:
        """About ``SEARCH_TOKENS``, 2 to 40 times the text."""
        return self._schedule(epochs or self.epochs(SEARCH_TOKENS, 2, 40))

    def final_schedule(self, epochs: int | None) -> Schedule:
        """About ``FINAL_TOKENS``, 8 to 80 times the text."""
        return self._schedule(epochs or self.epochs(FINAL_TOKENS, 8, 80))

    @property
    def windows_a_step(self) -> int:
        """Of a training."""
        return max(1, min(BATCH_TOKENS // self.image_size, self.size("train") // STEPS))

    def epochs(self, tokens: int, fewest: int, most: int) -> int:
        """How often the text holds about so many tokens, within bounds."""
        return min(most, max(fewest, round(tokens / (self.size("train") * self.image_size))))

    def _schedule(self, epochs: int) -> Schedule:
        rate = _RATES[self.channels >= LARGE_VOCABULARY]
        return Schedule(epochs, self.windows_a_step, rate, _DECAY, views=0, optimiser=self.optimiser)

    def preprocess(self, resolution: int) -> dict[str, Any]:
        """What a device must know of texts, for the manifest of a bundle (see ``results.bundle.runner``)."""
        return {"window": self.image_size, "vocabulary": self.channels}

    @property
    def device_files(self) -> Mapping[str, Path]:
        """The pieces, by which a device cuts a text."""
        return {"vocabulary": self.folder / PIECES}

    @cached_property
    def tokenizer(self) -> BytePair:
        """What makes ids of a text, and texts of ids."""
        return BytePair.read(self.folder / PIECES)
