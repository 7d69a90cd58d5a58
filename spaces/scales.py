"""Input sizes that a student may have for images of a given size."""

from __future__ import annotations

SMALL = 64
"""Up to this image size (pixels) networks keep the full resolution in their first stage."""


def resolutions(image_size: int) -> tuple[int, ...]:
    """Square input sizes in pixels, smallest first, the image's own size last.

    Small images: its half and three quarters, in steps of 8. Large ones: from three sevenths of it, in steps of
    32 (224 gives 96, 128, 160, 192, 224, as MobileNets are trained).

    >>> resolutions(32)
    (16, 24, 32)
    """
    if image_size <= SMALL:
        wanted = {_multiple(image_size * quarters / 4, 8, 8) for quarters in (2, 3)}
    else:
        wanted = {_multiple(image_size * sevenths / 7, 32, 64) for sevenths in (3, 4, 5, 6)}
    return (*sorted(size for size in wanted if size < image_size), image_size)


def lengths(tokens: int) -> tuple[int, ...]:
    """Numbers of tokens that a student of texts of up to ``tokens`` may read: half of them, and all.

    >>> lengths(64)
    (32, 64)
    """
    half = _multiple(tokens / 2, 8, 8)
    return (half, tokens) if half < tokens else (tokens,)


STRIDE = 4
"""Pixels of the largest image to a place of a map of answers."""
_FINE, _FEWEST, _MOST = 128, 2, 4
_COARSEST = 8
"""Places a side that the coarsest map of boxes has at most, unless there are ``_MOST``."""


def grid(image_size: int) -> int:
    """Places a side of the maps that networks answer with, whatever part of ``image_size`` pixels each takes."""
    return image_size // STRIDE


def strides(image_size: int) -> tuple[int, ...]:
    """Pixels of the largest image to a place of each map that boxes are looked for on, the finest first.

    From 4 pixels on, in images above 128 from 8 on, each twice the one before: two to four maps, until one has 8
    places a side or fewer.

    >>> strides(96)
    (4, 8, 16)
    """
    found = [STRIDE if image_size <= _FINE else 2 * STRIDE]
    while len(found) < _FEWEST or (len(found) < _MOST and image_size > _COARSEST * found[-1]):
        found.append(2 * found[-1])
    return tuple(found)


def level_sides(image_size: int) -> tuple[int, ...]:
    """Places a side of the maps of ``strides``, rounded up as convolutions do.

    >>> level_sides(96)
    (24, 12, 6)
    """
    return tuple(-(-image_size // stride) for stride in strides(image_size))


def answer_shape(
    classes: int, image_size: int, dense: bool, tokens: bool = False, boxes: bool = False
) -> tuple[int, ...]:
    """Of the answer to one sample: (classes,), or a ``dense`` one's (classes, G, G), G = ``grid(image_size)``.

    One of ``boxes`` is (classes, P, 1): the places of all maps of ``level_sides``, each row by row, one map after
    the other. A dense one to ``tokens`` is (image_size, classes).
    """
    if dense and tokens:
        return (image_size, classes)
    if boxes:
        return (classes, sum(side * side for side in level_sides(image_size)), 1)
    return (classes, grid(image_size), grid(image_size)) if dense else (classes,)


def _multiple(size: float, step: int, least: int) -> int:
    return max(least, round(size / step) * step)
