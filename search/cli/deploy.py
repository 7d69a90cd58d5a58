"""`understudy deploy`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from search.cli.bundles import runtime_option
from search.cli.tuning import tuning_options, tuning_request

if TYPE_CHECKING:
    from evaluators.compile.tune.tuned import TuningRequest
    from results.candidate import Student
    from results.store import RunStore
    from results.view import RunView


@click.command("deploy")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--to", "folder", type=click.Path(path_type=Path), required=True, help="folder of the bundle")
@click.option("--profile", "target", default="", help="the target, of a run with several")
@click.option("--number", type=int, help="the student's number (default: the most accurate within the limits)")
@click.option("--max-latency", help="limit on latency, such as 1ms")
@click.option("--max-size", help="limit on size, such as 2MB")
@click.option("--updatable", is_flag=True, help="also what `update BUNDLE` needs: weights and earlier images")
@runtime_option
@tuning_options
def command(
    run: Path,
    folder: Path,
    target: str,
    number: int | None,
    max_latency: str | None,
    max_size: str | None,
    updatable: bool,
    runtime: str,
    tune: float | None,
    tune_with: str | None,
) -> None:
    """Write the bundle of a student of RUN's front: what its device needs, and nothing else."""
    from results.bundle.write import refuse_existing, select_student, write_bundle
    from results.store import RunStore
    from results.units import parse_size, parse_time
    from results.updates import in_use
    from results.view import read_view

    request = tuning_request(tune, tune_with)
    refuse_existing(folder)
    store = RunStore.open(run)
    view = read_view(store, target)
    student = select_student(
        view.students,
        max_latency=parse_time(max_latency) if max_latency else None,
        max_size=parse_size(max_size) if max_size else None,
        number=number,
    )
    view, student = in_use(view, store.path, student)
    program = runtime == "cpp"
    with tempfile.TemporaryDirectory(prefix="understudy-") as scratch:
        more = _updatable(view, store, student, Path(scratch)) if updatable else {}
        if request is None:
            path = write_bundle(view, store.path, student, folder, program, more)
        else:
            path = _tuned_bundle(view, store, student, folder, request, program, more)
    click.echo(f"Student #{student.number} is in {path}")
    click.echo(f"Next: understudy bench {path}   or, with nothing of ours: python {path / 'run.py'} bench")


def _tuned_bundle(
    view: RunView,
    store: RunStore,
    student: Student,
    folder: Path,
    request: TuningRequest,
    program: bool,
    more: Mapping[str, Path],
) -> Path:
    """The bundle of the student compiled once more, and what tuning found on the terminal."""
    from results.bundle.write import LIBRARY, write_bundle
    from search.deployment import tuned_student
    from search.display import Display, make_console
    from search.tuning_table import tuning_table

    console = make_console()
    with tempfile.TemporaryDirectory(prefix="understudy-") as scratch:
        tuned, tuning = tuned_student(
            view, store.path, student, Path(scratch) / LIBRARY, request, Display(console)
        )
        console.print(tuning_table(tuning))
        return write_bundle(view, store.path, tuned, folder, program, more)


def _updatable(view: RunView, store: RunStore, student: Student, scratch: Path) -> dict[str, Path]:
    from search.display import Display, make_console
    from search.updatable import updatable_files

    return updatable_files(store, view, student, scratch, Display(make_console()))
