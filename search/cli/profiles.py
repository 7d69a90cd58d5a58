"""`understudy profiles`."""

from __future__ import annotations

from dataclasses import fields

import click


@click.command("profiles")
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """The hardware profiles; with NAME, all that one says and where each figure is from."""
    from rich.table import Table

    from hw_profiles.profile import load_profile, profile_names
    from search.display import make_console

    table = Table(box=None)
    if name is None:
        for heading in ("profile", "what it is", "reached as"):
            table.add_column(heading)
        for known in profile_names():
            profile = load_profile(known)
            table.add_row(known, profile.description, profile.reach)
    else:
        profile = load_profile(name)
        for heading in ("field", "value", "source"):
            table.add_column(heading)
        for field in fields(profile):
            if field.name != "sources":
                value = getattr(profile, field.name)
                shown = " ".join(value) if isinstance(value, tuple) else str(value)
                table.add_row(field.name, shown, profile.sources.get(field.name, ""))
    make_console().print(table)
