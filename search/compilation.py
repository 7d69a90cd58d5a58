"""Any network of a file, compiled, checked, timed and bundled."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from evaluators.compile.compiler import Compiled, compile_module
from evaluators.compile.importers.bounds import index_bounds
from evaluators.compile.importers.network_file import NetworkFile, open_network
from evaluators.compile.tune.tuned import Tuning, TuningRequest, compile_tuned
from evaluators.compile.verify import compare
from evaluators.latency.host import HostDevice
from evaluators.latency.quiet import QuietCores
from hw_profiles.profile import Profile
from results.bundle.manifest import network_manifest
from results.bundle.program import Machine
from results.bundle.runner import BundleProblem, Inputs, as_tuple, random_inputs, read_arrays
from results.bundle.write import LIBRARY, ONNX, refuse_existing, write_network_bundle
from results.measurement import Measurement
from results.tensors import TensorSpec
from search.display import Display
from search.versions import installed_versions
from understudy import BundleError, CompileError


@dataclass(frozen=True)
class Bundled:
    """What came of a file: the bundle, its figures by metric, and what could not be done."""

    folder: Path
    compiled: Compiled
    figures: Mapping[str, Measurement]
    notes: tuple[str, ...]
    tuning: Tuning | None = None


def compile_file(
    path: Path,
    profile: Profile,
    folder: Path,
    display: Display,
    shapes: Mapping[str, tuple[int, ...]],
    inputs_file: Path | None = None,
    tune: TuningRequest | None = None,
    with_program: bool = False,
) -> Bundled:
    """Compile an ONNX file or a ``torch.export`` program into a new bundle, tuned first where asked.

    ``with_program`` adds a program that needs no Python. Where the profile is this computer's, the compiled
    network is compared with the original on the inputs of a file, or on random ones, and timed. Raises
    ``CompileError`` when it cannot be compiled or differs, ``BundleError`` when the bundle cannot be written or
    the inputs do not fit.
    """
    refuse_existing(folder)
    start = time.perf_counter()
    with display.stage(f"reading {path.name}"):
        network = open_network(path, shapes)
        module = network.module()
    seconds = {"read": time.perf_counter() - start}
    specs = _specs(network.inputs, index_bounds(module))
    inputs = _inputs(inputs_file, specs)
    with tempfile.TemporaryDirectory(prefix="understudy-") as scratch:
        library, twin = Path(scratch) / LIBRARY, Path(scratch) / ONNX
        with display.stage(f"compiling for {profile.name}"):
            compiled, tuning = _compiled(module, profile, library, tune)
        compiled = replace(_named(compiled, network), seconds={**seconds, **compiled.seconds})
        figures = {
            "size": Measurement(compiled.size_bytes, "byte"),
            "memory": Measurement(compiled.memory_bytes, "byte", source="estimated"),
        }
        notes = []
        if profile.reach == "host":
            figures |= _checked(network, compiled, profile, inputs, display)
        else:
            notes.append(f"neither checked nor timed: code for {profile.name} does not run here")
        sources = {LIBRARY: library}
        try:
            with display.stage("writing it as ONNX"):
                network.write_onnx(twin)
            sources[ONNX] = twin
        except CompileError as error:
            notes.append(f"without {ONNX}: {error}")
        made = installed_versions()
        write_network_bundle(
            folder,
            sources,
            made,
            lambda sums: network_manifest(
                path.stem, specs, compiled.outputs, figures, asdict(profile), made, sums
            ),
            path.stem,
            Machine.of_profile(asdict(profile)) if with_program else None,
        )
    return Bundled(folder, compiled, figures, tuple(notes), tuning)


def _compiled(
    module: Any, profile: Profile, library: Path, tune: TuningRequest | None
) -> tuple[Compiled, Tuning | None]:
    if tune is None:
        return compile_module(module, profile, library), None
    return compile_tuned(module, profile, library, tune, QuietCores.of_this_computer())


def _checked(
    network: NetworkFile, compiled: Compiled, profile: Profile, inputs: Inputs, display: Display
) -> dict[str, Measurement]:
    """How far the compiled network is from the original, and its latency."""
    device = HostDevice(profile, QuietCores.of_this_computer())
    with display.stage("comparing it with the original"):
        expected = network.expected(as_tuple(inputs))
        difference = compare(expected, as_tuple(device.run(compiled.library, inputs)), network.tolerance)
    with display.stage("measuring"):
        return {
            "difference": Measurement(difference, "share"),
            "latency": device.measure(compiled.library, inputs),
        }


def _specs(inputs: tuple[TensorSpec, ...], bounds: tuple[int | None, ...]) -> list[dict[str, Any]]:
    """The inputs as the manifest lists them, with what the ids among them are below."""
    return [
        each.to_json() | ({} if bound is None else {"below": bound})
        for each, bound in zip(inputs, bounds, strict=True)
    ]


def _inputs(file: Path | None, specs: list[dict[str, Any]]) -> Inputs:
    if file is None:
        return random_inputs(specs)
    with _problems():
        return read_arrays(file, specs)


def _named(compiled: Compiled, network: NetworkFile) -> Compiled:
    """The compiled network with the names that its file gives to what goes in and comes out."""
    outputs = tuple(replace(spec, name=name) for spec, name in zip(compiled.outputs, network.outputs, strict=True))
    return replace(compiled, inputs=network.inputs, outputs=outputs)


@contextmanager
def _problems() -> Iterator[None]:
    try:
        yield
    except BundleProblem as problem:
        raise BundleError(str(problem)) from problem
