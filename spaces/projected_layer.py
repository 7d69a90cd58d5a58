"""A decoder's layer as another's of any size: its attention by heads, its feed-forward part by neurons."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spaces.decoder import Layer


@dataclass(frozen=True)
class Axes:
    """``basis``, (teacher's width, student's width), has orthonormal columns, or rows where the student is wider.

    ``scale`` makes of what the student's layer norms give what the teacher's do, along these axes.
    """

    basis: Tensor
    scale: float

    def reading(self, weight: Tensor, norm: nn.LayerNorm) -> Tensor:
        """Weights (..., width) that read the teacher's stream through a norm, as those that read the student's."""
        return self.scale * ((weight * norm.weight) @ self.basis)


def project_layer(teacher: Layer, student: Layer, axes: Axes, stream: Tensor) -> None:
    """Give a student's layer the weights of a teacher's, as far as they fit; ``stream`` is what the latter reads.

    Rows that the teacher has nothing for keep their random weights, and are not heard yet.
    """
    for norm in (student.before, student.between):
        nn.init.ones_(norm.weight)
        nn.init.zeros_(norm.bias)
    _attention(teacher, student, axes)
    _feed(teacher, student, axes, teacher.attended(stream)[0])


def _attention(teacher: Layer, student: Layer, axes: Axes) -> None:
    """Scores and values of a head are products of two matrices each, and keep their largest singular values.

    Where the student has fewer heads, those that write most are kept; where it has more, further ones begin with
    further singular values of the same heads.
    """
    heads, of, width = student.heads, teacher.heads, axes.basis.shape[1]
    size, full = width // heads, len(axes.basis) // of
    query, key, value = axes.reading(teacher.attend.weight, teacher.before).view(3, of, full, width)
    asked, _, told = (teacher.attend.bias + teacher.attend.weight @ teacher.before.bias).view(3, of, full)
    write = (teacher.mix.weight.T @ axes.basis).view(of, full, width)
    order = list(range(of))
    if heads < of:
        order.sort(key=lambda head: -float((value[head].T @ write[head]).norm()))
    queries, keys, values = student.attend.weight.view(3, heads, size, width)
    bias, mix = torch.zeros(3, heads, size), torch.zeros(heads, size, width)
    nn.init.zeros_(queries)
    even = math.sqrt(size / full)  # scores are divided by the root of a head's size
    for number in range(heads):
        head, first = order[number % of], number // of * size
        left, right = _factors(query[head].T @ key[head], slice(0, min(size, full)))
        queries[number, : len(left)], keys[number, : len(right)] = even * left, right
        wanted = (asked[head] @ key[head])[:, None]  # what a query's bias adds to the scores of what is read
        bias[0, number, : len(right)] = even * (torch.linalg.pinv(right.T) @ wanted)[:, 0]
        left, right = _factors(value[head].T @ write[head], slice(first, min(first + size, full)))
        values[number, : len(left)], mix[number, : len(right)] = left, right
    student.attend.bias.copy_(bias.flatten())
    student.mix.weight.copy_(mix.view(width, width).T)
    student.mix.bias.copy_((teacher.mix.bias + teacher.mix.weight @ told.flatten()) @ axes.basis)


def _factors(product: Tensor, part: slice) -> tuple[Tensor, Tensor]:
    """``left`` and ``right``, (n, width) each, whose ``left.T @ right`` holds a part of the singular values."""
    left, sizes, right = torch.linalg.svd(product)
    roots = sizes[part].sqrt()[:, None]
    return roots * left.T[part], roots * right[part]


def _feed(teacher: Layer, student: Layer, axes: Axes, stream: Tensor) -> None:
    """The neurons are kept whose answers write most; of the others what they write on average."""
    answers = teacher.act(teacher.expand(teacher.between(stream))).flatten(0, 1)
    write = teacher.contract.weight.T @ axes.basis
    order = (answers.std(0) * write.norm(dim=1)).argsort(descending=True)
    kept, left = order[: student.expand.out_features], order[student.expand.out_features :]
    count = len(kept)
    student.expand.weight[:count] = axes.reading(teacher.expand.weight, teacher.between)[kept]
    student.expand.bias[:count] = (teacher.expand.bias + teacher.expand.weight @ teacher.between.bias)[kept]
    nn.init.zeros_(student.contract.weight)
    student.contract.weight[:, :count] = write[kept].T
    student.contract.bias.copy_(teacher.contract.bias @ axes.basis + answers.mean(0)[left] @ write[left])
