"""`understudy bench`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("bench")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--against", type=click.Choice(["onnxruntime"]), help="time it in turn with another runtime")
def command(bundle: Path, against: str | None) -> None:
    """Measure the student in BUNDLE on this computer."""
    from evaluators.latency.quiet import QuietCores
    from results.bundle.runner import print_latency
    from search.cli.bundles import opened

    with opened(bundle) as student, QuietCores.of_this_computer().quiet():
        print_latency(student)
        if against is not None:
            from evaluators.latency.against import against_onnxruntime

            click.echo(against_onnxruntime(student))
