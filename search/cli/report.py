"""`understudy report`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
def command(run: Path) -> None:
    """Write RUN's report (one HTML file) and its front as PNG and SVG."""
    from results.report import write_report
    from results.store import RunStore

    click.echo(write_report(RunStore.open(run)))
