"""`understudy show`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("show")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--all", "everything", is_flag=True, help="every candidate, not only the front")
def command(run: Path, everything: bool) -> None:
    """The front, the students and the state of RUN, in the terminal."""
    from results.store import RunStore
    from results.table import candidates_table, front_table, students_table, time_table
    from search.display import make_console

    store, console = RunStore.open(run), make_console()
    candidates, facts, students = store.candidates(), store.facts(), store.students()
    console.print(candidates_table(candidates) if everything else front_table(candidates, facts))
    console.print(time_table(candidates))
    if students:
        console.print(students_table(students, facts))
