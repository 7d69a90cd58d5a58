"""`understudy compile`."""

from __future__ import annotations

from pathlib import Path

import click

from search.cli.bundles import runtime_option
from search.cli.tuning import tuning_options, tuning_request
from understudy import ConfigError


@click.command("compile")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", "folder", type=click.Path(path_type=Path), required=True, help="folder of the bundle")
@click.option("--profile", "profile_name", default="x86-host", help="hardware profile  [x86-host]")
@click.option("--threads", type=int, help="threads that it runs on (default: all cores of the profile)")
@click.option("--input", "sizes", multiple=True, help="sizes of an input that the file leaves open: ids=1x128")
@click.option(
    "--inputs", "arrays", type=click.Path(path_type=Path), help="inputs to compare on (.npz by name, or .npy)"
)
@runtime_option
@tuning_options
def command(
    file: Path,
    folder: Path,
    profile_name: str,
    threads: int | None,
    sizes: tuple[str, ...],
    arrays: Path | None,
    runtime: str,
    tune: float | None,
    tune_with: str | None,
) -> None:
    """Compile FILE, an ONNX file or a torch.export program (.pt2), into a bundle that runs on the profile."""
    from hw_profiles.profile import load_profile
    from search.compilation import compile_file
    from search.compilation_table import compilation_table
    from search.display import Display, make_console
    from search.tuning_table import tuning_table

    profile = load_profile(profile_name)
    if threads is not None:
        profile = profile.with_threads(threads)
    console = make_console()
    request = tuning_request(tune, tune_with)
    shapes = dict(map(parse_shape, sizes))
    bundled = compile_file(file, profile, folder, Display(console), shapes, arrays, request, runtime == "cpp")
    console.print(compilation_table(bundled))
    if bundled.tuning is not None:
        console.print(tuning_table(bundled.tuning))
    for note in bundled.notes:
        click.echo(f"note: {note}")
    if profile.reach == "host":
        click.echo(f"Next: understudy bench {folder} --against onnxruntime")
    else:
        click.echo(f"Next: copy {folder} to the device, and there: python run.py bench")


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """The name and shape in ``name=1x3x224x224``, or ``""`` and the shape; raises ``ConfigError``.

    >>> parse_shape("ids=1x128")
    ('ids', (1, 128))
    """
    name, _, sizes = text.rpartition("=")
    parts = sizes.split("x") if sizes else []
    if not parts or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(f"--input must be like ids=1x128 (sizes of at least 1), but got {text!r}")
    return name, tuple(map(int, parts))
