"""`understudy doctor`."""

from __future__ import annotations

import sys

import click


@click.command("doctor")
def command() -> None:
    """Check versions, compilers and this computer; say how to mend what is wrong. Exit status 1 if anything is."""
    from search.doctor import examine

    faults = 0
    for finding in examine():
        mark = click.style("ok   ", fg="green") if finding.good else click.style("wrong", fg="red")
        click.echo(f"{mark} {finding.what}: {finding.seen}")
        if not finding.good:
            faults += 1
            click.echo(f"      mend: {finding.mend}")
    if faults:
        click.echo(f"{faults} to mend.", err=True)
        sys.exit(1)
