"""What is taught at each place of a grid, from boxes; and how far answers are from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from results.bundle.boxes import REACH, SIDES

IGNORED = -100
"""The class of a place in a box but not in its middle, as ``cross_entropy`` takes it: it may be either."""
_MIDDLE = 0.5
_VISIBLE = 0.3
_FARTHEST = 4.0
_SEEN = 0.3
"""The teacher's share for there being something at a place, from which on its box there is learnt."""


@dataclass(frozen=True)
class Assigned:
    """``classes`` int64 (B, G, G): 0 nothing, else the class from 1 on, or ``IGNORED``; ``corners`` float32
    (B, 4, G, G): left, top, right, bottom of the box there, in shares of the sides."""

    classes: Tensor
    corners: Tensor


def assign(given: Sequence[NDArray[np.float32]], side: int) -> Assigned:
    """What each place of a grid of ``side`` is in, of pictures with boxes (n, 5); of several the smallest.

    The middle half of a box each way is its own (center sampling; Tian et al., 2019, FCOS), one place at least.
    """
    classes = np.zeros((len(given), side, side), np.int64)
    corners = np.zeros((len(given), SIDES, side, side), np.float32)
    middles = (np.arange(side) + 0.5) / side
    for row, boxes in enumerate(given):
        sizes = (boxes[:, 3] - boxes[:, 1]) * (boxes[:, 4] - boxes[:, 2])
        for label, left, top, right, bottom in boxes[np.argsort(-sizes, kind="stable")]:
            whole = _within(middles, top, bottom)[:, None] & _within(middles, left, right)[None, :]
            middle = _nearest(middles, top, bottom)[:, None] & _nearest(middles, left, right)[None, :]
            classes[row][whole & (classes[row] == 0)] = IGNORED
            classes[row][middle] = 1 + int(label)
            corners[row][:, middle] = np.array([left, top, right, bottom], np.float32)[:, None]
    return Assigned(torch.from_numpy(classes), torch.from_numpy(corners))


def moved(given: Sequence[NDArray[np.float32]], matrices: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Boxes as views show them; ``matrices`` (B, 2, 3) map places of a view to those of its picture, in -1..1.

    A turned box becomes the upright one around it; one of which less than a third is left in sight is gone.
    """
    seen = []
    for boxes, matrix in zip(given, matrices.astype(np.float64), strict=True):
        back = np.linalg.inv(matrix[:, :2])
        x, y = 2 * boxes[:, [1, 3, 1, 3]] - 1, 2 * boxes[:, [2, 2, 4, 4]] - 1
        points = np.einsum("ij,jnk->ink", back, np.stack([x, y]) - matrix[:, 2, None, None])
        shares = (points + 1) / 2
        sides = np.stack([*shares.min(2), *shares.max(2)], axis=1)
        whole = (sides[:, 2:] - sides[:, :2]).prod(1)
        inside = sides.clip(0, 1)
        kept = (inside[:, 2:] - inside[:, :2]).prod(1) >= _VISIBLE * whole
        seen.append(np.column_stack([boxes[:, 0], inside])[kept].astype(np.float32))
    return seen


def box_loss(student: Tensor, teacher: Tensor | None, classes: Tensor, corners: Tensor) -> Tensor:
    """One minus the mean generalised overlap (GIoU; Rezatofighi et al., 2019) of a student's boxes with others.

    With those given, at places of a class; with the teacher's, where it sees something, by how sure it is.
    Answers are (B, 1 + classes + 4, G, G).
    """
    ours = corners_of(student[:, -SIDES:])
    known = (classes > 0).float()
    loss = _mean(1 - overlap(ours, corners), known)
    if teacher is None:
        return loss
    sure = 1 - teacher[:, :-SIDES].softmax(1)[:, 0]
    return loss + _mean(1 - overlap(ours, corners_of(teacher[:, -SIDES:])), sure * (sure > _SEEN))


def corners_of(distances: Tensor) -> Tensor:
    """As ``results.bundle.boxes.corners_of``, of a batch (B, 4, G, G) and with a gradient: nothing is clipped."""
    side = distances.shape[-1]
    middles = (torch.arange(side, device=distances.device) + 0.5) / side
    x, y = middles[None, None, :], middles[None, :, None]
    far = REACH * distances.clamp(max=_FARTHEST).exp()
    return torch.stack([x - far[:, 0], y - far[:, 1], x + far[:, 2], y + far[:, 3]], dim=1)


def overlap(ours: Tensor, theirs: Tensor) -> Tensor:
    """The generalised intersection over union of boxes (B, 4, G, G) at each place, (B, G, G), in -1..1."""
    low, high = torch.maximum(ours[:, :2], theirs[:, :2]), torch.minimum(ours[:, 2:], theirs[:, 2:])
    both = (high - low).clamp(min=0).prod(1)
    areas = [(each[:, 2:] - each[:, :2]).clamp(min=0).prod(1) for each in (ours, theirs)]
    union = areas[0] + areas[1] - both
    around = (torch.maximum(ours[:, 2:], theirs[:, 2:]) - torch.minimum(ours[:, :2], theirs[:, :2])).prod(1)
    return both / union.clamp(min=1e-7) - (around - union) / around.clamp(min=1e-7)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1)


def _within(middles: NDArray[np.float64], low: float, high: float) -> NDArray[np.bool_]:
    return (middles >= low) & (middles <= high)


def _nearest(middles: NDArray[np.float64], low: float, high: float) -> NDArray[np.bool_]:
    """Places in the middle of a stretch; the nearest to it where there is none."""
    middle, reach = (low + high) / 2, _MIDDLE * (high - low) / 2
    found = np.abs(middles - middle) <= reach
    if not found.any():
        found[int(np.abs(middles - middle).argmin())] = True
    return found
