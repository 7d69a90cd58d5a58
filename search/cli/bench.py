"""`understudy bench`."""

from __future__ import annotations

from pathlib import Path

import click

from understudy import ConfigError


@click.command("bench")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--against", type=click.Choice(["onnxruntime"]), help="time it in turn with another runtime")
@click.option("--kernels", is_flag=True, help="list each kernel; BUNDLE may be a network file (.onnx, .pt2) too")
def command(bundle: Path, against: str | None, kernels: bool) -> None:
    """Measure the student in BUNDLE on this computer."""
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
