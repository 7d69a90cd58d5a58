"""What tuning found, for the terminal."""

from __future__ import annotations

from rich.table import Table

from evaluators.compile.tune.tuned import Tuning
from results.units import format_time

SHOWN = 12


def tuning_table(tuning: Tuning) -> Table:
    """The heaviest kernels: time as the model builds them and as they are built now, and options tried."""
    table = Table(title=str(tuning), title_justify="left")
    for heading in ("kernel", "times", "model's", "taken", "tried", "choice"):
        table.add_column(heading, overflow="fold", justify="right" if heading in ("times", "tried") else "left")
    for row in tuning.table[:SHOWN]:
        timed = row.tried > 0
        table.add_row(
            row.kernel,
            str(row.count),
            format_time(row.default_s) if timed else "not timed",
            format_time(row.best_s) if timed else "",
            f"{row.tried} of {row.options}",
            row.choice,
        )
    if tuning.schedules is not None:
        table.caption, table.caption_justify = str(tuning.schedules), "left"
    return table
