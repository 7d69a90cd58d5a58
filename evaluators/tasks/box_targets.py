"""What is taught at each place of several maps, from boxes; and how far answers are from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from results.bundle.boxes import BESIDE, REACH, SIDES, places

IGNORED = -100
"""The class of a place in a box but not in its middle, as ``cross_entropy`` takes it: it may be either."""
SMALLEST, LARGEST = 3.0, 12.0
"""Places of a map that a box on it has, in the geometric mean of both ways."""
_MIDDLE = 0.5
_VISIBLE = 0.3
_FARTHEST = 4.0
_SEEN = 0.3
"""The teacher's share for there being something at a place, from which on its box there is learnt."""


@dataclass(frozen=True)
class Assigned:
    """``classes`` int64 (B, P): 0 nothing, else the class from 1 on, or ``IGNORED``; ``corners`` float32
    (B, 4, P): left, top, right, bottom of the box there, in shares; ``weights`` float32 (B, P): how much places of
    a class count, 1 in the mean, less where a box has many. Places are as of ``results.bundle.boxes``."""

    classes: Tensor
    corners: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> Assigned:
        """The same on a device."""
        return Assigned(*(each.to(device) for each in (self.classes, self.corners, self.weights)))


def assign(given: Sequence[NDArray[np.float32]], sides: tuple[int, ...]) -> Assigned:
    """What each place of maps of ``sides`` has, of pictures with boxes (n, 5); of several the smallest (FCOS).

    A box belongs to the maps on which it has ``SMALLEST`` to ``LARGEST`` places, or to the nearest; there to the
    places in the middle half of it each way (center sampling; Tian et al., 2019, arXiv:1904.01355), one at least.
    Most boxes are so on two maps, unlike FCOS's: few data then make more of them. A box's places count together as
    much as the square root of their number, or small boxes were hardly seen beside large ones.
    """
    starts = np.cumsum([0, *(side * side for side in sides)])
    middles = [(np.arange(side) + 0.5) / side for side in sides]
    classes = np.zeros((len(given), starts[-1]), np.int64)
    corners = np.zeros((len(given), SIDES, starts[-1]), np.float32)
    weights = np.zeros((len(given), starts[-1]), np.float32)
    for row, boxes in enumerate(given):
        lengths = boxes[:, 3:] - boxes[:, 1:3]
        sizes = np.sqrt(lengths.prod(1))
        for box, size in ((boxes[at], sizes[at]) for at in np.argsort(-sizes, kind="stable")):
            label, left, top, right, bottom = box
            own = []
            for level in _levels(size, sides):
                here, side, start = middles[level], sides[level], starts[level]
                inside = start + _crossed(_within(here, top, bottom), _within(here, left, right), side)
                classes[row, inside[classes[row, inside] == 0]] = IGNORED
                own.append(start + _crossed(_nearest(here, top, bottom), _nearest(here, left, right), side))
            taken = np.concatenate(own)
            classes[row, taken] = 1 + int(label)
            corners[row][:, taken] = box[1:, None]
            weights[row, taken] = len(taken) ** -0.5
    weights *= (classes > 0).sum() / max(weights.sum(), 1e-9)
    return Assigned(*map(torch.from_numpy, (classes, corners, weights)))


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


def box_loss(student: Tensor, teacher: Tensor | None, given: Assigned, sides: tuple[int, ...]) -> Tensor:
    """What methods of places and classes leave out of answers (B, 1 + classes + 5, P) of maps of ``sides``.

    Places with a box are few, so that a mean over all hardly sees them: the focal loss of classes, by the number
    of those few (Lin et al., 2017, arXiv:1708.02002). At them one minus the generalised overlap of boxes (GIoU;
    Rezatofighi et al., 2019, arXiv:1902.09630), and the cross entropy of the overlap that is expected with the
    real one. The same two with the teacher's boxes and expectations, where it sees something, by how sure it is.
    """
    ours, expected = corners_of(student[:, -BESIDE:-1], sides), student[:, -1]
    known = given.weights * (given.classes > 0)
    shared, generalised = overlap(ours, given.corners)
    found = _mean(1 - generalised + _entropy(expected, shared.detach()), known)
    loss = found + _focal(student[:, :-BESIDE], given) / known.sum().clamp(min=1)
    if teacher is None:
        return loss
    sure = 1 - teacher[:, :-BESIDE].softmax(1)[:, 0]
    _, generalised = overlap(ours, corners_of(teacher[:, -BESIDE:-1], sides))
    taught = 1 - generalised + _entropy(expected, teacher[:, -1].sigmoid())
    return loss + _mean(taught, sure * (sure > _SEEN))


def corners_of(distances: Tensor, sides: tuple[int, ...]) -> Tensor:
    """As ``results.bundle.boxes.corners_of``, of a batch (B, 4, P) and with a gradient."""
    x, y, length = torch.from_numpy(places(sides)).to(distances.device)
    far = REACH * length * distances.clamp(max=_FARTHEST).exp()
    return torch.stack([x - far[:, 0], y - far[:, 1], x + far[:, 2], y + far[:, 3]], dim=1)


def overlap(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """The intersection over union of boxes (B, 4, P) at each place, (B, P), and the generalised one, in -1..1."""
    low, high = torch.maximum(ours[:, :2], theirs[:, :2]), torch.minimum(ours[:, 2:], theirs[:, 2:])
    both = (high - low).clamp(min=0).prod(1)
    areas = [(each[:, 2:] - each[:, :2]).clamp(min=0).prod(1) for each in (ours, theirs)]
    union = areas[0] + areas[1] - both
    around = (torch.maximum(ours[:, 2:], theirs[:, 2:]) - torch.minimum(ours[:, :2], theirs[:, :2])).prod(1)
    shared = both / union.clamp(min=1e-7)
    return shared, shared - (around - union) / around.clamp(min=1e-7)


def _focal(logits: Tensor, given: Assigned) -> Tensor:
    """The sum over places of cross entropies, each by the square of the share that its class does not have."""
    entropies = functional.cross_entropy(logits, given.classes, reduction="none", ignore_index=IGNORED)
    weights = torch.where(given.classes > 0, given.weights, 1.0)
    return (weights * (1 - (-entropies).exp()).detach() ** 2 * entropies).sum()


def _entropy(logits: Tensor, shares: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, shares, reduction="none")


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1)


def _levels(size: float, sides: tuple[int, ...]) -> list[int]:
    """The maps on which a box of that size, in shares, has neither too few nor too many places."""
    found = [at for at, side in enumerate(sides) if SMALLEST <= size * side <= LARGEST]
    return found or [0 if size * sides[0] < SMALLEST else len(sides) - 1]


def _crossed(rows: NDArray[np.intp], columns: NDArray[np.intp], side: int) -> NDArray[np.intp]:
    """The numbers of the places of a map in some rows and columns."""
    return (rows[:, None] * side + columns).ravel()


def _within(middles: NDArray[np.float64], low: float, high: float) -> NDArray[np.intp]:
    return np.flatnonzero((middles >= low) & (middles <= high))


def _nearest(middles: NDArray[np.float64], low: float, high: float) -> NDArray[np.intp]:
    """Places in the middle of a stretch; the nearest to it where there is none."""
    middle, reach = (low + high) / 2, _MIDDLE * (high - low) / 2
    away = np.abs(middles - middle)
    found: NDArray[np.intp] = np.flatnonzero(away <= reach)
    return found if len(found) else np.array([int(away.argmin())])
