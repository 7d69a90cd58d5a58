"""`understudy show`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("show")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--all", "everything", is_flag=True, help="every candidate, not only the front")
def command(run: Path, everything: bool) -> None:
    """The front, the students and the state of RUN, in the terminal."""
    from results.goals import target_names
    from results.store import RunStore
    from results.supernet import supernet_sentences
    from results.table import candidates_table, front_table, students_table, time_table
    from results.updates import Versions, version_table
    from results.view import read_view
    from search.display import make_console

    store, console = RunStore.open(run), make_console()
    views = [read_view(store, target) for target in target_names(store.facts())]
    for view in views:
        console.print(
            candidates_table(view.candidates)
            if everything
            else front_table(view.candidates, view.facts, view.target)
        )
    console.print(time_table(store.candidates()))
    for sentence in supernet_sentences(store.facts(), store.candidates()):
        console.print(sentence, highlight=False, soft_wrap=True)
    for view in views:
        if view.students:
            console.print(students_table(view.students, view.facts, view.target))
    versions = Versions(store.path).all()
    if versions:
        console.print(version_table(versions))
