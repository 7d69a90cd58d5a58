"""`understudy confirm`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from search.confirmation import Confirmation


@click.command("confirm")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--board", required=True, metavar="TRACKER:KEY", help="the boards, such as 127.0.0.1:9190:rpi5")
@click.option("--profile", "target", default="", help="the target, of a run with several")
def command(run: Path, board: str, target: str) -> None:
    """Measure the front of RUN and what is near it on a board, correct the front, and say what moved."""
    from evaluators.boards.address import BoardAddress
    from results.goals import goal_on
    from results.store import RunStore
    from results.table import students_table
    from results.view import read_view
    from search.config import load_config
    from search.confirmation import confirm
    from search.display import Display, make_console
    from search.lock import run_lock

    boards, path = BoardAddress.parse(board), run.resolve()
    store = RunStore.open(path)
    goal_on(store.facts(), target)
    config = load_config(path / "config.yaml", {"runs": str(path.parent), "name": path.name})
    console = make_console()
    with run_lock(path):
        done = confirm(config, store, target, boards, Display(console))
    console.print(confirmation_table(done))
    if not done.kept:
        console.print("The board is emulated: these times say nothing of a device, and the record stays as it is.")
        return
    view = read_view(store, target)
    console.print(students_table(view.students, view.facts, target))
    untaught = {each.number for each in done.moved if each.is_on_front} - {each.number for each in view.students}
    if untaught:
        names = ", ".join(f"#{number}" for number in sorted(untaught))
        console.print(f"On the front but not fully taught: {names}. Next: understudy resume {run}")


def confirmation_table(done: Confirmation) -> Table:
    """Each candidate's earlier and measured latency, and its place on the front before and after."""
    from rich.table import Table

    from results.table import figure_text

    table = Table(title="The front of the search, measured on the board", title_justify="left")
    for heading in ("candidate", "earlier", "measured", "change", "front before", "front now"):
        table.add_column(heading, justify="left" if heading == "candidate" else "right")
    for each in done.moved:
        change = f"{100 * (each.measured.value / each.earlier.value - 1):+.0f} %"
        front = ("yes" if each.was_on_front else "no", "yes" if each.is_on_front else "no")
        style = None if each.was_on_front == each.is_on_front else "bold"
        figures = figure_text(each.earlier), figure_text(each.measured), change
        table.add_row(f"#{each.number}", *figures, *front, style=style)
    return table
