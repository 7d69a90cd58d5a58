"""The kernels of a network for the terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from evaluators.compile.kernel_times import NetworkTimes
from evaluators.latency.kernels import KernelLine, Roofline, uncovered
from hw_profiles.profile import Profile
from results.units import format_time

_LONGEST = 40
_HEADINGS = ("calls", "a call", "share", "GFLOP/s", "flop/byte", "GB/s", "of roofline")


def kernel_table(times: NetworkTimes, lines: Sequence[KernelLine], roofline: Roofline, profile: Profile) -> Table:
    """A line a kernel, what lies between them, and what the figures are measured by."""
    table = Table(title=f"Kernels of one call: {format_time(times.seconds)}", title_justify="left")
    table.add_column("kernel", overflow="fold")
    table.add_column("rule")
    for heading in _HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    for line in lines:
        kernel, seconds = line.kernel, line.seconds
        table.add_row(
            f"{short_name(kernel.name)}  {_shape(kernel.shapes[0])} to {_shape(kernel.shapes[-1])}",
            Text(kernel.rule, style="" if line.covered else "yellow"),
            str(kernel.calls),
            format_time(seconds),
            f"{100 * line.share:.1f} %",
            f"{kernel.operations / seconds / 1e9:.1f}",
            f"{kernel.operations / max(1, kernel.bytes):.1f}",
            f"{kernel.bytes / seconds / 1e9:.1f}",
            f"{100 * line.reached:.0f} %",
        )
    between = 1 - sum(line.share for line in lines)
    table.add_row("between kernels: virtual machine, input and output", "", "", "", f"{100 * between:.1f} %")
    table.caption, table.caption_justify = _caption(lines, roofline, profile, times.tuned), "left"
    return table


def _caption(lines: Sequence[KernelLine], roofline: Roofline, profile: Profile, tuned: int) -> str:
    moved = ", ".join(f"{level.bandwidth / 1e9:.0f}" for level in roofline.levels)
    known = f"{tuned} of their kinds as tuning found best" if tuned else "each as the model of its rule says"
    names = dict.fromkeys(map(short_name, uncovered(lines)))
    return (
        f"Roofline: {roofline.peak / 1e9:.0f} GFLOP/s at {profile.clock_ghz:g} GHz on {profile.threads} threads "
        f"(a processor may clock higher), and {moved} GB/s measured in each cache and in memory.\n"
        f"Kernels are built {known}, and timed on their own, on data in cache where it fits.\n"
        + (f"No rule covers (fallback): {', '.join(names)}." if names else "Every kernel is covered by a rule.")
    )


def short_name(name: str) -> str:
    """What a kernel does, without the numbers and the tail of a long chain of element-wise work.

    >>> short_name("fused_dense12_add16_multiply3_maximum_minimum_multiply4_cast")
    'dense_add_multiply_maximum_minimum…'
    """
    plain = re.sub(r"\d+(?=_|$)", "", name.removeprefix("fused_"))
    return plain if len(plain) <= _LONGEST else plain[: plain.rindex("_", 0, _LONGEST)] + "…"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
