"""`understudy methods`."""

from __future__ import annotations

import click


@click.command("methods")
def command() -> None:
    """The ways of teaching a student, for `search --distill NAME:setting=value,...`."""
    from rich.table import Table

    from evaluators.distill.catalogue import methods
    from evaluators.distill.method_text import written
    from search.display import make_console

    table = Table("method", "learns from", "what it does", "settings [default]", box=None)
    for method in methods().values():
        settings = ", ".join(f"{name} [{written(value)}]" for name, value in method.settings.items())
        table.add_row(method.name, method.family, method.summary, settings)
    make_console().print(table)
