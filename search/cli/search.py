"""`understudy search`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from search.cli.options import config_options, given_options


@click.command("search")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file of options; those on the line win")
@config_options
def command(config: Path | None, **options: Any) -> None:
    """Search for students of a teacher within a hardware budget.

    Leaves everything in results/runs/NAME: the record, the front, the students, the report.
    """
    from search.config import load_config
    from search.display import make_console
    from search.run import start_run

    settings = load_config(config, given_options(options))
    try:
        start_run(settings, make_console())
    except KeyboardInterrupt:
        if (settings.run_path / "config.yaml").exists():
            click.echo(f"Go on with: understudy resume {settings.run_path}", err=True)
        raise
