"""`understudy predict`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("predict")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True)
def command(bundle: Path, images: tuple[str, ...]) -> None:
    """What the student in BUNDLE says of IMAGES (pictures, or .npy arrays)."""
    from results.bundle.runner import print_predictions
    from search.cli.bundles import opened

    with opened(bundle) as student:
        print_predictions(student, images)
