"""`understudy deploy`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("deploy")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--to", "folder", type=click.Path(path_type=Path), required=True, help="folder of the bundle")
@click.option("--number", type=int, help="the student's number (default: the most accurate within the limits)")
@click.option("--max-latency", help="limit on latency, such as 1ms")
@click.option("--max-size", help="limit on size, such as 2MB")
def command(run: Path, folder: Path, number: int | None, max_latency: str | None, max_size: str | None) -> None:
    """Write the bundle of a student of RUN's front: what its device needs, and nothing else."""
    from results.bundle.write import select_student, write_bundle
    from results.store import RunStore
    from results.units import parse_size, parse_time

    store = RunStore.open(run)
    student = select_student(
        store.students(),
        max_latency=parse_time(max_latency) if max_latency else None,
        max_size=parse_size(max_size) if max_size else None,
        number=number,
    )
    path = write_bundle(store, student, folder)
    click.echo(f"Student #{student.number} is in {path}")
    click.echo(f"Next: understudy bench {path}   or, with nothing of ours: python {path / 'run.py'} bench")
