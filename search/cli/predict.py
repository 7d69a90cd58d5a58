"""`understudy predict`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("predict")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, required=True)
def command(bundle: Path, images: tuple[Path, ...]) -> None:
    """What the student in BUNDLE says of IMAGES (pictures, or .npy arrays)."""
    from search.cli.bundles import opened

    with opened(bundle) as student:
        for image in images:
            best = ", ".join(f"{label} {100 * share:.1f} %" for label, share in student.predict(image))
            click.echo(f"{image}: {best}")
