"""The sizes of an attention, how it is cut, and where one of its jobs stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx

from evaluators.compile.choices import Choice
from evaluators.compile.kernels.emit import Index, whole


@dataclass(frozen=True)
class Attention:
    """The sizes of an attention and how it is cut.

    ``choice`` has ``block`` (queries of a block), ``rows`` and ``vectors`` (the register tile of the scores),
    ``mix_rows`` and ``mix`` (the same of the product with the values), ``lanes`` and ``shares`` (jobs that a
    head's queries are divided into).
    """

    batch: int
    heads: int
    queries: int
    keys: int
    channels: int
    values: int
    scale: float
    causal: bool
    choice: Choice
    parallel: bool = False

    @property
    def lanes(self) -> int:
        return self.choice["lanes"]

    @property
    def tile(self) -> int:
        """Keys of a register tile of scores."""
        return self.choice["vectors"] * self.lanes

    @property
    def padded_keys(self) -> int:
        return -(-self.keys // self.lanes) * self.lanes

    @property
    def share(self) -> int:
        """Queries of a job."""
        return -(-self.queries // self.choice["shares"])

    @property
    def work(self) -> int:
        """Multiply-adds."""
        return self.batch * self.heads * self.queries * self.keys * (self.channels + self.values)


@dataclass(frozen=True)
class Job:
    """A job's place and its own buffers."""

    of: Attention
    image: Index
    head: Index
    keys: Any
    values: Any
    scores: Any
    inverse: Any


def reach(of: Attention, start: Index, step: int, most: int) -> Index:
    """How many steps of so many keys a block of queries needs: with a causal mask, up to its last query."""
    if not of.causal:
        return most
    return tirx.min((start + (of.choice["block"] + step - 1)) // step, whole(most))
