"""`understudy predict`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("predict")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--to", help="write the outputs of a network that takes arrays into this .npz file, or masks into this folder"
)
def command(bundle: Path, files: tuple[str, ...], to: str | None) -> None:
    """What the network in BUNDLE says of FILES: pictures, WAV files, vectors or sentences; else arrays."""
    from results.bundle.runner import print_predictions
    from search.cli.bundles import opened

    with opened(bundle) as student:
        print_predictions(student, files, to)
