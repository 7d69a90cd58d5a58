"""`understudy profiles`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from hw_profiles.profile import Profile


@click.group("profiles", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """The hardware profiles."""
    if context.invoked_subcommand is not None:
        return
    from rich.table import Table

    from hw_profiles.profile import load_profile, profile_names
    from search.display import make_console

    table = Table("profile", "what it is", "reached as", "verified", box=None)
    for known in profile_names():
        profile = load_profile(known)
        table.add_row(known, profile.description, profile.reach, profile.verified)
    make_console().print(table)


@command.command("show")
@click.argument("name")
def show(name: str) -> None:
    """All that the profile NAME (or FILE.toml) says, and where each figure is from."""
    from rich.table import Table

    from hw_profiles.profile import load_profile
    from search.display import make_console

    table = Table("field", "value", "source", box=None)
    for row in _rows(load_profile(name)):
        table.add_row(*row)
    make_console().print(table)


def _rows(profile: Profile) -> list[tuple[str, str, str]]:
    """Field, value and source of everything in a profile, and what follows from it."""
    from hw_profiles.gpu import DTYPES
    from results.units import format_size

    rows = [(name, getattr(profile, name), "") for name in ("name", "isa")]
    rows += [(name, profile.figure(name), profile.sources[name]) for name in profile.figures()]
    rows += [(name, getattr(profile, name), "") for name in ("linker", "reach", "verified")]
    rows += [(f"peak of {dtype}", f"{profile.peak(dtype) / 1e9:,.0f} G operations/s", "") for dtype in DTYPES]

    def text(name: str, value: object) -> str:
        if name.endswith("_bytes") and isinstance(value, int):
            return format_size(value)
        if name == "memory_bandwidth" and isinstance(value, float | int):
            return f"{value / 1e9:g} GB/s"
        if name == "gpu.peak":
            return "as below"
        return " ".join(value) if isinstance(value, tuple) else str(value)

    return [(name, text(name, value), source) for name, value, source in rows]


@command.command("new")
@click.argument("name")
@click.option("--to", "path", type=click.Path(path_type=Path), help="the file to write  [NAME.toml]")
@click.option(
    "--from",
    "root",
    type=click.Path(path_type=Path),
    default=Path("/"),
    help="a copy of a device's /proc and /sys",
)
@click.option("--board", metavar="TRACKER:KEY", help="ask a board, such as 127.0.0.1:9190:rpi5")
def new(name: str, path: Path | None, root: Path, board: str | None) -> None:
    """Write a profile with all that this computer, a board, or a device whose files are copied says of itself."""
    from evaluators.boards.address import BoardAddress
    from evaluators.boards.facts import board_facts
    from hw_profiles.detect import as_toml, detected_facts
    from understudy import ProfileError

    path = path or Path(f"{name}.toml")
    if path.suffix != ".toml":
        raise ProfileError(f"a profile's file must end in .toml, but got {path}")
    if path.exists():
        raise ProfileError(f"{path} exists: name another file with --to, or remove it")
    facts = detected_facts(root) if board is None else board_facts(BoardAddress.parse(board))
    path.write_text(as_toml(facts))
    asked = ", ".join(key for key, value in facts.items() if value == "?")
    click.echo(f"written: {path}")
    click.echo(f"{f'Fill in {asked}, then' if asked else 'Next'}: understudy profiles show {path}")
