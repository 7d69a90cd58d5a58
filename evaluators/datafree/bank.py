"""The images made so far, on disk."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from results.store import write_atomically


class Bank:
    """Parts of images, uint8 (n, C, R, R), and the teacher's logits of them, in a folder.

    Each part is two files, ``<number>-logits.npy`` and then ``<number>.npy``, complete from the moment that the
    second one is there; the images stay on disk and are mapped into memory. A begun folder is gone on with.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._images: list[NDArray[np.uint8]] = []
        self._logits: list[NDArray[np.float32]] = []
        while self._file(len(self._images)).exists():
            self._open()

    def __len__(self) -> int:
        return len(self._images)

    @property
    def size(self) -> int:
        """Images in all parts."""
        return sum(map(len, self._images))

    @property
    def parts(self) -> list[NDArray[np.uint8]]:
        """The images of each part, mapped into memory."""
        return list(self._images)

    @property
    def named(self) -> NDArray[np.int64]:
        """The class that the teacher names for each image."""
        found: NDArray[np.int64] = np.concatenate(self._logits).argmax(1)
        return found

    def add(self, images: Tensor, logits: Tensor) -> None:
        """Write a part: images uint8 (n, C, R, R), logits float32 (n, classes).

        Raises ``RunError`` when it cannot.
        """
        number = len(self)
        write_atomically(self._file(number, "-logits"), _npy(logits))
        write_atomically(self._file(number), _npy(images))
        self._open()

    def draw(self, count: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """So many images in 0..1, float32, and their logits: from a part drawn for each."""
        parts = torch.randint(len(self), (count,), generator=draws).tolist()
        places = torch.rand(count, generator=draws).tolist()
        rows = [(part, int(place * len(self._images[part]))) for part, place in zip(parts, places, strict=True)]
        images = np.stack([self._images[part][row] for part, row in rows])
        logits = np.stack([self._logits[part][row] for part, row in rows])
        return torch.from_numpy(images).float() / 255, torch.from_numpy(logits)

    def _open(self) -> None:
        number = len(self._images)
        self._logits.append(np.load(self._file(number, "-logits"), allow_pickle=False))
        self._images.append(np.load(self._file(number), mmap_mode="r", allow_pickle=False))

    def _file(self, number: int, what: str = "") -> Path:
        return self.folder / f"{number}{what}.npy"


def _npy(array: Tensor) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array.numpy(), allow_pickle=False)
    return buffer.getvalue()
