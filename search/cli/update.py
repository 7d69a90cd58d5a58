"""`understudy update`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from results.candidate import Student
    from results.store import RunStore
    from results.updates import Version
    from results.view import RunView
    from search.updating import Request


@click.command("update")
@click.argument("run", metavar="RUN|BUNDLE", type=click.Path(path_type=Path))
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
    one before stays in the run, and --roll-back returns to it. The student of a BUNDLE that was deployed with
    --updatable learns likewise; its new bundle is written --to another folder, and the old one stays as it is.
    """
    from results.bundle.write import refuse_existing
    from results.goals import goal_on
    from results.store import RunStore
    from search.display import Display, make_console
    from search.lock import run_lock
    from search.updating import Request, update

    if (data is None) == (not roll_back):
        raise click.UsageError("name the new data with --data, or return to the version before with --roll-back")
    if data is not None:
        request = Request(data, replay, "random" if how == "random" else "herding", epochs, skip_bad)
    if (run / "manifest.json").is_file():
        if data is None or folder is None or number is not None or target:
            raise click.UsageError(
                f"{run} is a bundle, of one student for one target, and stays as it is: name the new data with "
                "--data and the folder of the new bundle with --to, and nothing else"
            )
        _update_bundle(run, request, folder)
        return
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
            _tell(update(store, chosen, request, Display(console)))
            console.print(
                f"Next: understudy deploy {run} --number {chosen} --to bundle/   or, to undo: "
                f"understudy update {run} --student {chosen} --roll-back",
                highlight=False,
                soft_wrap=True,
            )
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


def _update_bundle(bundle: Path, request: Request, folder: Path) -> None:
    """The bundle's student as a run of its own for as long as it learns."""
    from results.bundle.write import refuse_existing, write_bundle
    from search.cli.bundles import manifest_of
    from search.display import Display, make_console
    from search.updatable import run_of, updatable_files
    from search.updating import update

    refuse_existing(folder)
    files = manifest_of(bundle)["files"]
    display = Display(make_console())
    with tempfile.TemporaryDirectory(prefix="understudy-") as scratch:
        store, number = run_of(bundle, files, Path(scratch))
        _tell(update(store, number, request, display))
        view, student = _in_use(store, number, "")
        more = updatable_files(store, view, student, Path(scratch), display)
        click.echo(f"Its bundle is in {write_bundle(view, store.path, student, folder, more=more)}")


def _tell(version: Version) -> None:
    """What was gained and forgotten, and whether the new images look different."""
    from results.updates import version_table
    from search.display import make_console

    console = make_console()
    console.print(version_table([version]))
    console.print(version.drift["sentence"], highlight=False, soft_wrap=True)
    number = version.student.number
    console.print(f"Student #{number} is version {version.number} now", highlight=False)


def _in_use(store: RunStore, number: int, target: str) -> tuple[RunView, Student]:
    from results.bundle.write import select_student
    from results.updates import in_use
    from results.view import read_view

    view = read_view(store, target)
    return in_use(view, store.path, select_student(view.students, number=number))


def _write(store: RunStore, number: int, folder: Path, target: str) -> None:
    from results.bundle.write import write_bundle

    view, student = _in_use(store, number, target)
    click.echo(f"Its bundle is in {write_bundle(view, store.path, student, folder)}")
