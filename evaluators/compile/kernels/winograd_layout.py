"""How a Winograd convolution is cut into tiles and jobs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from evaluators.compile.choices import Choice
from evaluators.compile.kernels.cook_toom import TAPS, Filter, minimal_filter


@dataclass(frozen=True)
class Layout:
    """A convolution of (``batch``, ``height``, ``width``, ``inputs``) and how it is cut into jobs.

    ``top`` and ``left`` are the padding there, ``out_height`` and ``out_width`` the output's size. A job takes
    ``rows`` x ``columns`` tiles of ``m`` x ``m`` outputs and one of ``groups`` groups of output channels; its
    products use a register tile of ``height`` tiles times ``vectors`` vectors of ``lanes`` channels.
    """

    batch: int
    height: int
    width: int
    inputs: int
    channels: int
    top: int
    left: int
    out_height: int
    out_width: int
    choice: Choice
    parallel: bool

    @cached_property
    def filter(self) -> Filter:
        return minimal_filter(self.choice["m"])

    @property
    def m(self) -> int:
        return self.choice["m"]

    @property
    def n(self) -> int:
        return self.m + TAPS - 1

    @property
    def lanes(self) -> int:
        return self.choice["lanes"]

    @property
    def tiles(self) -> int:
        """Tiles of a job."""
        return self.choice["rows"] * self.choice["columns"]

    @property
    def width_packed(self) -> int:
        """Output channels of a register tile."""
        return self.choice["vectors"] * self.lanes

    @property
    def group(self) -> int:
        """Output channels of a job, padded."""
        return -(-self.channels // (self.width_packed * self.choice["groups"])) * self.width_packed

    @property
    def reach(self) -> int:
        """Columns of pixels that a job reads."""
        return self.choice["columns"] * self.m + TAPS - 1

    @property
    def work(self) -> int:
        """Multiply-adds of the products."""
        down, across = self.blocks
        jobs = self.batch * down * across * self.choice["groups"]
        return jobs * self.n**2 * self.tiles * self.inputs * self.group

    @property
    def blocks(self) -> tuple[int, int]:
        """Jobs along y and x."""
        return (
            -(-self.out_height // (self.choice["rows"] * self.m)),
            -(-self.out_width // (self.choice["columns"] * self.m)),
        )
