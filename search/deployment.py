"""A student of a run compiled once more, its kernels tuned for this computer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from evaluators.compile.importers.network_file import open_network
from evaluators.compile.tune.tuned import Tuning, TuningRequest, compile_tuned
from evaluators.compile.verify import compare
from evaluators.latency.host import HostDevice
from evaluators.latency.quiet import QuietCores
from hw_profiles.profile import load_profile
from results.bundle.runner import as_tuple, random_inputs
from results.candidate import Student
from results.measurement import Measurement
from results.view import RunView
from search.display import Display
from understudy import CompileError


def tuned_student(
    view: RunView, run: Path, student: Student, library: Path, request: TuningRequest, display: Display
) -> tuple[Student, Tuning]:
    """The student compiled from its ONNX file into ``library``, tuned first.

    It is compared with the ONNX file and measured again; the student returned has the new file and figures. Raises
    ``CompileError``, also for a student of plain text, and ``MeasureError`` when the run's profile is not this
    computer's.
    """
    if "prefill_onnx" in student.files:
        raise CompileError(
            f"student #{student.number} goes on with texts by two programs, and kernels are tuned for one at a "
            "time: leave out --tune, or tune while searching"
        )
    facts = view.facts["profile"]
    profile = load_profile(facts["name"]).with_threads(facts["threads"])
    quiet = QuietCores.of_this_computer()
    network = open_network((run / student.files["onnx"]).resolve(), {})
    inputs = random_inputs([spec.to_json() for spec in network.inputs])
    with display.stage(f"tuning kernels for {request.seconds:g} s"):
        compiled, tuning = compile_tuned(network.module(), profile, library, request, quiet)
    device = HostDevice(profile, quiet)
    with display.stage("comparing and measuring"):
        compare(network.expected(as_tuple(inputs)), as_tuple(device.run(library, inputs)), network.tolerance)
        figures = {
            **student.measurements,
            "size": Measurement(compiled.size_bytes, "byte"),
            "memory": Measurement(compiled.memory_bytes, "byte", source="estimated"),
            "latency": device.measure(library, inputs),
        }
    files = {**student.files, "library": str(library.resolve())}
    return replace(student, files=files, measurements=figures), tuning
