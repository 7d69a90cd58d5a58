"""`understudy bench`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from understudy import ConfigError


@click.command("bench")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--against", type=click.Choice(["onnxruntime"]), help="time it in turn with another runtime")
@click.option("--kernels", is_flag=True, help="list each kernel; BUNDLE may be a network file (.onnx, .pt2) too")
@click.option("--board", metavar="TRACKER:KEY", help="measure on a board instead, such as 127.0.0.1:9190:rpi5")
def command(bundle: Path, against: str | None, kernels: bool, board: str | None) -> None:
    """Measure the student in BUNDLE on this computer, or on a board."""
    if board is not None:
        if against is not None or kernels:
            raise ConfigError("--board measures the student alone: leave --against and --kernels out")
        click.echo(_on_board(bundle, board))
        return
    from evaluators.latency.quiet import QuietCores
    from results.bundle.runner import print_latency
    from search.cli.bundles import opened

    if bundle.is_file():
        if not kernels or against is not None:
            raise ConfigError(
                f"{bundle} is a file: list its kernels with --kernels alone, or compile it into a bundle"
            )
        _print_kernels(bundle, None)
        return
    with opened(bundle) as student:
        with QuietCores.of_this_computer().quiet():
            print_latency(student)
            if against is not None:
                from evaluators.latency.against import against_onnxruntime

                click.echo(against_onnxruntime(student))
        if kernels:
            _print_kernels(bundle / "student.onnx", student.student.threads)


def _on_board(folder: Path, board: str) -> str:
    """The latency of a bundle's student on a board, once it agrees there with its ONNX file; one sentence."""
    from evaluators.boards.address import BoardAddress
    from evaluators.boards.device import BoardDevice
    from evaluators.compile.importers.network_file import open_network
    from evaluators.compile.verify import compare
    from hw_profiles.profile import load_profile
    from results.bundle.runner import as_tuple, random_inputs
    from results.bundle.write import LIBRARY
    from results.units import format_time
    from search.cli.bundles import manifest_of

    boards, manifest = BoardAddress.parse(board), manifest_of(folder)
    profile = load_profile(manifest["target"]["profile"]).with_threads(manifest["target"]["threads"])
    inputs, library = random_inputs(manifest["inputs"]), folder / LIBRARY
    network = open_network(folder / "student.onnx", {})
    expected = network.expected(as_tuple(inputs))
    with closing(BoardDevice(boards, profile)) as device:
        difference = compare(expected, as_tuple(device.run(library, inputs)), network.tolerance)
        latency = device.measure(library, inputs)
    quartiles = " to ".join(format_time(end) for end in (latency.low, latency.high) if end is not None)
    return (
        f"{latency} ({latency.source}; quartiles {quartiles}) on {latency.conditions}; "
        f"outputs within {difference:.1g} of student.onnx"
    )


def _print_kernels(network: Path, threads: int | None) -> None:
    """Compile the network of a file for this computer, on so many threads (all cores by default), and list it.

    Kernels that were tuned before are built as was found best.
    """
    from evaluators.compile.importers.network_file import open_network
    from evaluators.compile.kernel_times import streaming_bandwidth, time_network
    from evaluators.compile.tune.database import known_chooser
    from evaluators.latency.kernels import kernel_lines, measure_roofline
    from evaluators.latency.quiet import QuietCores
    from hw_profiles.profile import load_profile
    from search.display import make_console
    from search.kernel_table import kernel_table

    host = load_profile("x86-host")
    profile = host.with_threads(threads or host.cores)
    module = open_network(network, {}).module()
    quiet = QuietCores.of_this_computer().quiet
    times = time_network(module, profile, quiet, known_chooser(profile))
    with quiet():
        roofline = measure_roofline(profile, streaming_bandwidth)
    make_console().print(kernel_table(times, kernel_lines(times, roofline), roofline, profile))
