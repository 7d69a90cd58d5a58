"""Where the pictures of a task are: files, encoded bytes, or arrays. None of them is ever unpickled."""

from __future__ import annotations

import hashlib
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from results.bundle.runner import BundleProblem, decode_image
from understudy import DataError

_FILES, _BYTES, _OFFSETS, _ARRAY = "files.json", "images.bin", "offsets.npy", "images.npy"


@dataclass(frozen=True)
class Look:
    """What is known of a picture before it is decoded: content hash, size in pixels, whether it is grey."""

    digest: bytes
    shorter_side: int
    grey: bool


class Images(ABC):
    """A numbered collection of pictures that another process can open from a folder."""

    @abstractmethod
    def __len__(self) -> int:
        """How many pictures there are."""

    @abstractmethod
    def name(self, index: int) -> str:
        """What to call a picture in a message."""

    @abstractmethod
    def look(self, index: int) -> Look:
        """The facts of a picture; raises ``DataError`` when it is not one."""

    @abstractmethod
    def read(self, index: int, channels: int) -> NDArray[np.uint8]:
        """A picture as uint8 (H, W, channels); raises ``DataError`` when it cannot be decoded."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what ``open_images`` needs into a folder."""


class _Encoded(Images):
    """Pictures in a file format, decoded when read."""

    @abstractmethod
    def _open(self, index: int) -> BinaryIO: ...

    def look(self, index: int) -> Look:
        from PIL import Image

        try:
            with self._open(index) as stream:
                content = stream.read()
            with Image.open(io.BytesIO(content)) as image:
                grey = image.mode in ("1", "L", "LA", "I", "I;16", "F")
                return Look(_digest(content), min(image.size), grey)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise self._unreadable(index, error) from error

    def read(self, index: int, channels: int) -> NDArray[np.uint8]:
        try:
            with self._open(index) as stream:
                return decode_image(stream, channels)
        except (OSError, BundleProblem) as error:
            raise self._unreadable(index, error) from error

    def _unreadable(self, index: int, error: Exception) -> DataError:
        return DataError(
            f"{self.name(index)} cannot be read as an image ({error}): repair or remove it, or leave such images "
            "out with --skip-bad"
        )


class FileImages(_Encoded):
    """Image files, where the user has them."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = [str(path.resolve()) for path in paths]

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, index: int) -> str:
        return self._paths[index]

    def _open(self, index: int) -> BinaryIO:
        return open(self._paths[index], "rb")

    def save(self, folder: Path) -> None:
        (folder / _FILES).write_text(json.dumps(self._paths))


class EncodedImages(_Encoded):
    """Encoded pictures laid end to end: ``content`` uint8 (bytes,), picture i at ``offsets[i]:offsets[i + 1]``."""

    def __init__(self, content: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self._content, self._offsets = content, offsets

    @staticmethod
    def gather(pictures: Iterable[bytes]) -> EncodedImages:
        """The collection of these encoded pictures, in memory."""
        kept = list(pictures)
        offsets = np.cumsum([0, *(len(picture) for picture in kept)], dtype=np.int64)
        return EncodedImages(np.frombuffer(b"".join(kept), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def name(self, index: int) -> str:
        return f"image {index}"

    def _open(self, index: int) -> BinaryIO:
        return io.BytesIO(self._content[self._offsets[index] : self._offsets[index + 1]].tobytes())

    def save(self, folder: Path) -> None:
        self._content.tofile(folder / _BYTES)
        np.save(folder / _OFFSETS, self._offsets)


class ArrayImages(Images):
    """Decoded pictures of one size: ``pictures`` uint8 (N, H, W, C), C 1 or 3."""

    def __init__(self, pictures: NDArray[np.uint8]) -> None:
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def name(self, index: int) -> str:
        return f"image {index}"

    def look(self, index: int) -> Look:
        picture = self._pictures[index]
        return Look(_digest(picture.tobytes()), min(picture.shape[:2]), picture.shape[2] == 1)

    def read(self, index: int, channels: int) -> NDArray[np.uint8]:
        picture: NDArray[np.uint8] = np.asarray(self._pictures[index])
        if picture.shape[2] == channels:
            return picture
        if channels == 3:
            return picture.repeat(3, axis=2)
        raise DataError(
            f"{self.name(index)} has {picture.shape[2]} channels where 1 was asked for: convert it to grey"
        )

    def save(self, folder: Path) -> None:
        np.save(folder / _ARRAY, self._pictures)

    @staticmethod
    def stack(parts: Iterable[NDArray[np.uint8]], count: int, folder: Path) -> None:
        """Save parts, uint8 (n, H, W, C), as ``count`` pictures in all, with one part at a time in memory."""
        whole, done = None, 0
        for part in parts:
            if whole is None:
                whole = open_memmap(folder / _ARRAY, "w+", np.uint8, (count, *part.shape[1:]))
            whole[done : done + len(part)] = part
            done += len(part)


def open_images(folder: Path) -> Images:
    """The collection saved in a folder, memory-mapped; raises ``DataError`` when there is none."""
    if (folder / _FILES).is_file():
        return FileImages([Path(path) for path in json.loads((folder / _FILES).read_text())])
    if (folder / _BYTES).is_file():
        offsets = np.load(folder / _OFFSETS, allow_pickle=False)
        return EncodedImages(np.memmap(folder / _BYTES, np.uint8, mode="r"), offsets)
    if (folder / _ARRAY).is_file():
        return ArrayImages(np.load(folder / _ARRAY, mmap_mode="r", allow_pickle=False))
    raise DataError(
        f"{folder} holds no prepared task: remove the folder, and `understudy resume` prepares the data again"
    )


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
