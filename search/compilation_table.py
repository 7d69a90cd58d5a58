"""What came of compiling a file, for the terminal."""

from __future__ import annotations

from rich.table import Table

from results.units import format_time
from search.compilation import Bundled


def compilation_table(bundled: Bundled) -> Table:
    """Inputs, outputs, size, memory, latency with its quartiles, difference and seconds of compiling."""
    compiled, figures = bundled.compiled, bundled.figures
    table = Table(title=f"Compiled into {bundled.folder}", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("takes", "\n".join(map(str, compiled.inputs)))
    table.add_row("gives", "\n".join(map(str, compiled.outputs)))
    table.add_row("size", str(figures["size"]))
    table.add_row("peak memory", f"{figures['memory']} (planned)")
    if "latency" in figures:
        latency = figures["latency"]
        spread = f"quartiles {format_time(latency.low or 0)} to {format_time(latency.high or 0)}"
        table.add_row("latency", f"{latency} ({spread}, {latency.repeats} samples)")
        table.add_row("difference", f"{figures['difference'].value:.2g} of the original's largest output")
    parts = ", ".join(f"{stage} {format_time(seconds)}" for stage, seconds in compiled.seconds.items())
    table.add_row("compiling", f"{format_time(sum(compiled.seconds.values()))} ({parts})")
    return table
