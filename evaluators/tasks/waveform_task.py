"""Classification of recordings of one length: spoken words.

Beside what a task of vectors has, its ``features.npy`` holds samples as integers, int16 (rows, samples).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from evaluators.tasks.augment import uniform
from evaluators.tasks.task import Split
from evaluators.tasks.vector_task import VectorTask

FULL = 32768
"""The integer that stands for 1."""
_SHIFT, _GAIN_DB, _SNR_DB = 0.1, 6.0, (15.0, 45.0)
_TABLE = 4
"""The background noise of all views is so many times as long as a recording."""


@dataclass(frozen=True)
class WaveformTask(VectorTask):
    """Recordings in classes; ``channels`` is how many samples each has, ``sample_rate`` how many a second.

    A view other than the clean one is shifted by up to a tenth of its length, made louder or softer by up to 6 dB,
    and has white noise 15 to 45 dB below the recording added, all by (seed, view, sample).
    """

    kind: ClassVar[str] = "waveforms"
    space: ClassVar[str] = "speech"
    own: ClassVar[tuple[str, ...]] = ("sample_rate",)

    sample_rate: int = 0

    @property
    def sizes(self) -> dict[str, int]:
        """What a space must know of the data: the arguments of ``spaces.catalogue.load_space``."""
        return {**super().sizes, "sample_rate": self.sample_rate}

    @property
    def sample(self) -> dict[str, int | float]:
        """What one sample is, for people: figures by name."""
        return {"seconds": round(self.channels / self.sample_rate, 3), "sample_rate": self.sample_rate}

    @property
    def varied(self) -> bool:
        """They always do."""
        return True

    @property
    def features(self) -> NDArray[np.float32]:
        """All recordings in -1..1, (rows, samples), in memory: twice as large as on the disk."""
        return self._stored.astype(np.float32) / np.float32(FULL)

    def images(self, split: Split, ids: ArrayLike, resolution: int, view: int = 0) -> Tensor:
        """Recordings in -1..1, float32 (B, samples); view 0 is the clean one."""
        numbers = np.asarray(ids, np.int64)
        clean = self._stored[self.rows(split, numbers)].astype(np.float32) / np.float32(FULL)
        return torch.from_numpy(clean if view == 0 else self._varied(clean, numbers, view))

    def batch(self, split: Split, ids: ArrayLike, resolution: int, view: int = 0) -> Tensor:
        """The same recordings: students take them as they are."""
        return self.images(split, ids, resolution, view)

    def preprocess(self, resolution: int) -> dict[str, Any]:
        """What a device must do to a recording, for the manifest of a bundle (see ``results.bundle.runner``)."""
        return {**super().preprocess(resolution), "sample_rate": self.sample_rate}

    def _varied(self, clean: NDArray[np.float32], ids: NDArray[np.int64], view: int) -> NDArray[np.float32]:
        shift, gain, quiet, place = uniform(self.seed, view, ids, 4).T
        count = self.channels
        moved = np.rint((2 * shift - 1) * _SHIFT * count).astype(np.int64)
        source = np.arange(count) - moved[:, None]
        inside = (source >= 0) & (source < count)
        shifted = np.where(inside, np.take_along_axis(clean, source.clip(0, count - 1), axis=1), 0)
        level = np.sqrt((clean.astype(np.float64) ** 2).mean(axis=1))
        noise = level * 10 ** (-(_SNR_DB[0] + quiet * (_SNR_DB[1] - _SNR_DB[0])) / 20)
        start = (place * (_TABLE - 1) * count).astype(np.int64)
        heard = self._noise[start[:, None] + np.arange(count)]
        louder = 10 ** ((2 * gain - 1) * _GAIN_DB / 20)
        mixed: NDArray[np.float64] = louder[:, None] * (shifted + noise[:, None] * heard)
        return mixed.clip(-1, 1).astype(np.float32)

    @cached_property
    def _noise(self) -> NDArray[np.float32]:
        return np.random.default_rng(self.seed).standard_normal(_TABLE * self.channels, np.float32)

    @cached_property
    def _stored(self) -> NDArray[np.int16]:
        stored: NDArray[np.int16] = np.load(self.folder / "features.npy", mmap_mode="r", allow_pickle=False)
        return stored
