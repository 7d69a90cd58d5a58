"""Run a compiled student: decode, resize, normalise, execute. Needs numpy and the TVM runtime only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray


def decode_image(path: str | Path | BinaryIO, channels: int) -> NDArray[np.uint8]:
    """An image file as uint8 (H, W, channels), upright; needs Pillow.

    Raises ``OSError`` for a file that is not an image or is cut short.
    """
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
        return np.asarray(upright).reshape(upright.height, upright.width, channels)


def resize(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The centre square of uint8 (H, W, C), scaled to (size, size, C), bilinear with antialiasing."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    if side == size:
        return square
    taps, weights = _filter(side, size)
    rows = _weigh(square.reshape(side, -1), taps, weights).reshape(size, side, -1)
    both = _weigh(rows.transpose(1, 0, 2).reshape(side, -1), taps, weights).reshape(size, size, -1)
    return np.rint(both.transpose(1, 0, 2)).astype(np.uint8)


def normalise(image: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """The network's input, float32 (1, C, H, W): (image / 255 - mean) / std, channel by channel."""
    scaled = image.astype(np.float32) / np.float32(255)
    result = (scaled - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(result.transpose(2, 0, 1)[None])


@lru_cache(maxsize=64)
def _filter(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Input positions and weights of every output position, each (taps, target): a triangle as wide as the step."""
    step = source / target
    reach = max(step, 1.0)
    centre = (np.arange(target) + 0.5) * step
    first = np.floor(centre - reach).astype(np.intp)
    position = first + np.arange(int(np.ceil(2 * reach)) + 1)[:, None]
    weight = np.maximum(0.0, 1 - np.abs(position + 0.5 - centre) / reach)
    weight[(position < 0) | (position >= source)] = 0
    weight /= weight.sum(axis=0)
    used = weight.any(axis=1)
    return position.clip(0, source - 1)[used], weight[used].astype(np.float32)


def _weigh(
    lines: NDArray[np.generic], taps: NDArray[np.intp], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Weighted sums of lines, (source, K) -> (target, K); one pass a tap, since the filter is narrow."""
    total = np.zeros((taps.shape[1], lines.shape[1]), np.float32)
    for position, weight in zip(taps, weights, strict=True):
        total += lines[position] * weight[:, None]
    return total
