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
@click.option("--tokens", type=int, help="how far a text is gone on with  [100]")
@click.option("--temperature", type=float, help="0 takes the likeliest token, 1 draws by probabilities  [0.8]")
@click.option("--seed", type=int, help="of what is drawn  [0]")
def command(bundle: Path, files: tuple[str, ...], to: str | None, **how: float | None) -> None:
    """What the network in BUNDLE says of FILES: pictures, WAV files, vectors or sentences; else arrays.

    One of plain text goes on with the beginning of a text; one of questions answers those named after a picture.
    """
    from results.bundle.runner import print_predictions
    from search.cli.bundles import opened

    with opened(bundle) as student:
        print_predictions(student, files, to, {name: value for name, value in how.items() if value is not None})
