"""The images made so far, on disk."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import Tensor

from results.store import write_atomically


class Bank:
    """Parts of images, uint8 (n, C, R, R), and the teacher's logits of them, in a folder.

    Each part is ``<number>-logits.npy``, ``<number>-carried.safetensors`` (weights that the next part begins with)
    and then ``<number>.npy``, complete from the moment that the last is there; the images stay on disk and are
    mapped into memory. A begun folder is gone on with.
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

    def carried(self) -> dict[str, Tensor]:
        """The weights that the latest part left; none in an empty bank."""
        return load_file(self._file(len(self) - 1, "-carried.safetensors")) if len(self) else {}

    def add(self, images: Tensor, logits: Tensor, carried: Mapping[str, Tensor]) -> None:
        """Write a part: images uint8 (n, C, R, R), logits float32 (n, classes), weights for the next part.

        Raises ``RunError`` when it cannot.
        """
        number = len(self)
        write_atomically(self._file(number, "-logits.npy"), _npy(logits))
        write_atomically(self._file(number, "-carried.safetensors"), save(dict(carried)))
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
        self._logits.append(np.load(self._file(number, "-logits.npy"), allow_pickle=False))
        self._images.append(np.load(self._file(number), mmap_mode="r", allow_pickle=False))

    def _file(self, number: int, what: str = ".npy") -> Path:
        return self.folder / f"{number}{what}"


def _npy(array: Tensor) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array.numpy(), allow_pickle=False)
    return buffer.getvalue()
