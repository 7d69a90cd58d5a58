"""First weights of a decoder, projected from a larger one's: for students of any width, heads and layers.

What the teacher's layers pass on is turned to its principal axes, and the student keeps the first of them, in all
its layers alike (after SliceGPT; Ashkboos et al., 2024, arXiv:2401.15024). A layer norm takes the mean of what it
reads away, so the direction of the mean is one of the axes, and becomes that of the student's mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from spaces.decoder import Decoder, Layer
from spaces.projected_layer import Axes, project_layer

_RIDGE = 1e-2
"""Of the mean square of what is read: what keeps least squares from fitting a few texts too well."""


@torch.no_grad()
def project(teacher: Decoder, student: Decoder, ids: Tensor) -> None:
    """Give a student the weights, in place, that make it most like its teacher without any learning.

    ``ids``, (B, T) int64, are windows of training text by which axes are chosen. The student's layers are the
    teacher's at equal distances, the first one first; those that the teacher lacks change nothing yet. The table
    of tokens is the teacher's as nearly as its rank allows (truncated SVD); what reads the last layer of a
    factorised one is fitted to the teacher's answers by least squares. What is wider than the teacher keeps its
    random weights there. Raises ``ValueError`` where teacher and student do not fit (``fits``).
    """
    if not fits(teacher, student):
        raise ValueError("other tokens, a shorter window of the teacher, or a factorised table of its tokens")
    modes = teacher.training, student.training
    teacher.eval()
    student.eval()
    streams, last = _streams(teacher, ids)
    axes = _axes(teacher, streams, last, student.width)
    inward = _tables(teacher, student, axes)
    for layer, source in zip(_layers(student), _sources(len(student.layers), len(teacher.layers)), strict=True):
        if source is None:
            nn.init.zeros_(layer.mix.weight)
            nn.init.zeros_(layer.contract.weight)
        else:
            project_layer(_layers(teacher)[source], layer, axes, streams[source])
    if isinstance(student.reduce, nn.Linear):
        rank = inward.shape[1]
        student.reduce.weight[:rank] = axes.reading(inward.T, teacher.norm)
        student.reduce.bias[:rank] = teacher.norm.bias @ inward
        _fit(student, student.reduce, ids, teacher.norm(last) @ inward)
    teacher.train(modes[0])
    student.train(modes[1])


def fits(teacher: Decoder, student: Decoder) -> bool:
    """Whether they have the same tokens, the teacher at least the student's window, and no factorised table."""
    same = teacher.tokens == student.tokens and teacher.window >= student.window
    return same and isinstance(teacher.project, nn.Identity)


def _layers(decoder: Decoder) -> list[Layer]:
    return list(cast("Iterable[Layer]", decoder.layers))


def _sources(layers: int, of: int) -> list[int | None]:
    """For each of a student's layers the teacher's that it begins as, None where there are no more."""
    if layers >= of:
        return [number if number < of else None for number in range(layers)]
    return [round(number * (of - 1) / max(1, layers - 1)) for number in range(layers)]


def _streams(teacher: Decoder, ids: Tensor) -> tuple[list[Tensor], Tensor]:
    """What each layer of the teacher reads, (B, T, width), and what the last one gives."""
    hidden = teacher.words(ids) + teacher.places.weight[: ids.shape[1]]
    streams = []
    for layer in _layers(teacher):
        streams.append(hidden)
        hidden = layer(hidden)
    return streams, hidden


def _axes(teacher: Decoder, streams: list[Tensor], last: Tensor, width: int) -> Axes:
    """The principal axes of the streams as norms see them, that of the mean turned to that of the student's."""
    full = teacher.width
    moment = torch.zeros(full, full, dtype=torch.double)
    for stream in (*streams, last):
        centred = stream.flatten(0, 1).double()
        centred = centred - centred.mean(1, keepdim=True)
        centred = centred / centred.norm(dim=1, keepdim=True).clamp_min(1e-12)
        moment += centred.T @ centred
    sizes, directions = (part.flip(-1) for part in torch.linalg.eigh(moment))
    kept = min(width, full) - 1
    axes = torch.zeros(full, width, dtype=torch.double)
    axes[:, 0] = full**-0.5
    axes[:, 1 : 1 + kept] = directions[:, :kept]
    mirror = torch.full((width,), -(width**-0.5), dtype=torch.double)
    mirror[0] += 1
    turn = torch.eye(width, dtype=torch.double) - 2 * torch.outer(mirror, mirror) / (mirror @ mirror)
    share = float(sizes[:kept].sum() / sizes.sum())
    return Axes((axes @ turn).float(), math.sqrt(share * full / width))


def _tables(teacher: Decoder, student: Decoder, axes: Axes) -> Tensor:
    """Tokens and places; gives what leads from the teacher's width to the student's table, (width, embedding)."""
    words = teacher.words.weight
    _turn(teacher.places.weight[: student.window], student.places.weight, axes.basis)
    nn.init.ones_(student.norm.weight)
    nn.init.zeros_(student.norm.bias)
    if not isinstance(student.project, nn.Linear):
        _turn(words, student.words.weight, axes.basis)
        student.norm.weight.copy_(axes.scale * (axes.basis.square() * teacher.norm.weight[:, None]).sum(0))
        student.norm.bias.copy_(teacher.norm.bias @ axes.basis)
        return axes.basis
    embedding = student.words.embedding_dim
    inward: Tensor = torch.linalg.eigh((words.T @ words).double())[1].flip(1)[:, :embedding].float()
    rank = inward.shape[1]
    nn.init.zeros_(student.words.weight)
    student.words.weight[:, :rank] = words @ inward
    student.project.weight[:, :rank] = axes.basis.T @ inward
    nn.init.zeros_(student.project.bias)
    return inward


def _turn(teacher: Tensor, student: Tensor, basis: Tensor) -> None:
    """A table of the teacher as one of the student, which keeps its own where the teacher has nothing."""
    rest = student - student @ basis.T @ basis if basis.shape[1] > basis.shape[0] else 0
    student.copy_(teacher @ basis + rest)


def _fit(student: Decoder, reduce: nn.Linear, ids: Tensor, wanted: Tensor) -> None:
    """Let ``reduce`` make of the student's last layer what the teacher's table is read with, (B, T, rank).

    Of what it makes already only the difference is fitted, so that a student like its teacher stays so.
    """
    read, rank = student.norm(student.hidden(ids)).flatten(0, 1), wanted.shape[-1]
    missing = (wanted.flatten(0, 1) - reduce(read)[:, :rank]).double()
    read = read.double()
    ridge = _RIDGE * len(read) * float(read.square().mean())
    read = torch.cat((read, torch.ones_like(read[:, :1])), 1)
    normal = read.T @ read + ridge * torch.eye(read.shape[1], dtype=torch.double)
    found = torch.linalg.solve(normal, read.T @ missing).float()
    reduce.weight[:rank] += found[:-1].T
    reduce.bias[:rank] += found[-1]
