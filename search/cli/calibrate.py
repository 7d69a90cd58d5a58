"""`understudy calibrate`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from evaluators.latency.predict.stopwatch import Stopwatch
    from hw_profiles.profile import Profile


@click.command("calibrate")
@click.option("--profile", "name", default="x86-host", help="hardware profile of the device  [x86-host]")
@click.option("--board", metavar="TRACKER:KEY", help="time on boards, such as 127.0.0.1:9190:rpi5")
@click.option("--threads", type=int, help="threads that students use (default: all cores of the profile)")
@click.option("--time", "duration", default="5m", show_default=True, help="how long to time kernels")
@click.option("--space", default="mobile", show_default=True, help="the space whose kernels are timed")
@click.option("--image-size", type=int, default=32, show_default=True, help="pixels a side")
def command(name: str, board: str | None, threads: int | None, duration: str, space: str, image_size: int) -> None:
    """Time kernels on this computer or on boards, so that latencies are predicted well."""
    from evaluators.latency.predict.calibrate import calibrate
    from evaluators.latency.predict.store import LatencyStore, latency_path
    from hw_profiles.profile import load_profile
    from results.units import parse_time

    profile = load_profile(name) if board is None else load_profile(name).on_board()
    if threads is not None:
        profile = profile.with_threads(threads)
    seconds, store = parse_time(duration), LatencyStore(latency_path())
    with _stopwatch(profile, board) as stopwatch:
        done = calibrate(profile, _students(space, image_size), seconds, store, stopwatch)
    click.echo(f"{done.kernels} kernels and {done.networks} networks timed, kept in {store.path}")


@contextmanager
def _stopwatch(profile: Profile, board: str | None) -> Iterator[Stopwatch]:
    from evaluators.boards.address import BoardAddress
    from evaluators.boards.device import BoardDevice
    from evaluators.latency.predict.stopwatch import BoardStopwatch, HostStopwatch
    from evaluators.latency.quiet import QuietCores

    if board is None:
        yield HostStopwatch(profile, QuietCores.of_this_computer().quiet)
        return
    with closing(BoardDevice(BoardAddress.parse(board), profile)) as device:
        yield BoardStopwatch(device)


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
