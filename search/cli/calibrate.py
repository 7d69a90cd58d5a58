"""`understudy calibrate`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import click


@click.command("calibrate")
@click.option("--profile", "name", default="x86-host", help="hardware profile of this computer  [x86-host]")
@click.option("--threads", type=int, help="threads that students use (default: all cores of the profile)")
@click.option("--time", "duration", default="5m", show_default=True, help="how long to time kernels")
@click.option("--space", default="mobile", show_default=True, help="the space whose kernels are timed")
@click.option("--image-size", type=int, default=32, show_default=True, help="pixels a side")
def command(name: str, threads: int | None, duration: str, space: str, image_size: int) -> None:
    """Time kernels on this computer, so that latencies are predicted well."""
    from evaluators.latency.predict.calibrate import calibrate
    from evaluators.latency.predict.store import LatencyStore, latency_path
    from hw_profiles.profile import load_profile
    from results.units import parse_time

    profile = load_profile(name)
    if threads is not None:
        profile = profile.with_threads(threads)
    store = LatencyStore(latency_path())
    done = calibrate(profile, _students(space, image_size), parse_time(duration), store, nullcontext)
    click.echo(f"{done.kernels} kernels and {done.networks} networks timed, kept in {store.path}")


def _students(spec: str, image_size: int) -> Iterator[Any]:
    """Random students of a space as relax modules, without end."""
    import torch

    from evaluators.compile.export import import_network
    from spaces.catalogue import load_space
    from spaces.space import random_choice

    space = load_space(spec, channels=3, image_size=image_size, classes=10)
    generator = random.Random(0)
    while True:
        choice = random_choice(space, generator)
        size = space.resolution(choice)
        yield import_network(space.build(choice).eval(), torch.zeros(1, 3, size, size))
