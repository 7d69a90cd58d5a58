"""`understudy update`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from results.store import RunStore
    from results.updates import Version


@click.command("update")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", help="the new data, named as for a search")
@click.option("--student", "number", type=int, help="the student's number (default: the most accurate)")
@click.option("--replay", type=click.IntRange(0), default=200, help="earlier images shown again at most  [200]")
@click.option(
    "--memory", "how", type=click.Choice(["herding", "random"]), default="herding", help="how chosen  [herding]"
)
@click.option("--epochs", type=click.IntRange(1), help="length of the training (default: from the data)")
@click.option("--skip-bad", is_flag=True, help="leave out unreadable images instead of stopping")
@click.option("--to", "folder", type=click.Path(path_type=Path), help="also write the new version's bundle there")
@click.option("--profile", "target", default="", help="the target of that bundle, of a run with several")
@click.option("--roll-back", is_flag=True, help="use the version before again, and learn nothing")
def command(
    run: Path,
    data: str | None,
    number: int | None,
    replay: int,
    how: str,
    epochs: int | None,
    skip_bad: bool,
    folder: Path | None,
    target: str,
    roll_back: bool,
) -> None:
    """Teach a student of RUN new data or classes without forgetting the earlier ones.

    The new version is compiled, measured and held to the run's budget; it is what `deploy` takes from then on. The
    one before stays in the run, and --roll-back returns to it.
    """
    from results.bundle.write import refuse_existing
    from results.goals import goal_on
    from results.store import RunStore
    from search.display import Display, make_console
    from search.lock import run_lock
    from search.updating import Request, update

    if (data is None) == (not roll_back):
        raise click.UsageError("name the new data with --data, or return to the version before with --roll-back")
    store = RunStore.open(run.resolve())
    chosen = _chosen(store, number)
    if folder is not None:
        refuse_existing(folder)
        goal_on(store.facts(), target)
    console = make_console()
    with run_lock(store.path):
        if data is None:
            _roll_back(store, chosen)
        else:
            request = Request(data, replay, "random" if how == "random" else "herding", epochs, skip_bad)
            _tell(update(store, chosen, request, Display(console)), run)
    if folder is not None:
        _write(store, chosen, folder, target)


def _chosen(store: RunStore, number: int | None) -> int:
    from results.bundle.write import select_student

    return select_student(store.students(), number=number).number


def _roll_back(store: RunStore, number: int) -> None:
    from results.updates import Versions

    version = Versions(store.path).roll_back(number)
    now = f"version {version}" if version else "the search's own student"
    click.echo(f"Student #{number} is {now} again")


def _tell(version: Version, run: Path) -> None:
    """What was gained and forgotten, and whether the new images look different."""
    from results.updates import version_table
    from search.display import make_console

    console = make_console()
    console.print(version_table([version]))
    console.print(version.drift["sentence"], highlight=False, soft_wrap=True)
    number = version.student.number
    console.print(
        f"Student #{number} is version {version.number} now. Next: understudy deploy {run} --number {number} --to "
        f"bundle/   or, to undo: understudy update {run} --student {number} --roll-back",
        highlight=False,
        soft_wrap=True,
    )


def _write(store: RunStore, number: int, folder: Path, target: str) -> None:
    from results.bundle.write import select_student, write_bundle
    from results.updates import in_use
    from results.view import read_view

    view = read_view(store, target)
    view, student = in_use(view, store.path, select_student(view.students, number=number))
    click.echo(f"Its bundle is in {write_bundle(view, store.path, student, folder)}")
