"""`understudy resume`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("resume")
@click.argument("run", type=click.Path(path_type=Path))
def command(run: Path) -> None:
    """Go on with RUN: every finished candidate and student is kept, and the sampler knows them."""
    from search.display import make_console
    from search.run import resume_run

    try:
        resume_run(run, make_console())
    except KeyboardInterrupt:
        click.echo(f"Go on with: understudy resume {run}", err=True)
        raise
