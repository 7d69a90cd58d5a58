"""What a network costs on the targets of a search: compiled, checked against torch, and measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from evaluators.compile.choices import Chooser, first
from evaluators.compile.compiler import compile_module
from evaluators.compile.export import import_network
from evaluators.compile.verify import compare, expected_outputs
from evaluators.stages import Stages
from evaluators.target import Target
from evaluators.workbench import Workbench
from hw_profiles.profile import Profile
from results.goals import Goal
from results.measurement import Measurement

Array = NDArray[np.float32]


def cost_of(
    bench: Workbench, network: nn.Module, inputs: Tensor, folder: Path, stages: Stages
) -> dict[str, Measurement]:
    """Size, memory, latency and energy of a network on every target, by the names of the record.

    Its libraries are left in ``folder`` (``library_name``). ``inputs`` are a few images as the network gets them,
    (n, C, R, R). A network whose size or memory is over a target's budget is not run there, and one that disagrees
    with torch is not timed. Raises ``CompileError`` and ``MeasureError``.
    """
    with bench.working(), stages.stage("export"):
        module = import_network(network, inputs[:1])
    with bench.working(), stages.stage("verify"):
        expected = expected_outputs(network, inputs)
    figures: dict[str, Measurement] = {}
    for target in bench.targets:
        library = folder / library_name(target.goal)
        found = _compiled_cost(bench, target, module, library, stages)
        if target.goal.budget.violation(found) is None:
            found["latency"] = _latency(target, library, inputs.numpy(), expected, stages)
            found |= energy_of(found["latency"], target.profile)
        figures |= {target.goal.name(metric): figure for metric, figure in found.items()}
    return figures


def energy_of(latency: Measurement, profile: Profile) -> dict[str, Measurement]:
    """``energy``: joules of an inference, latency times the device's power at work; nothing where that is unknown.

    An estimate: a device at work draws more or less than the figure of its profile.
    """
    watts = profile.active_w
    if watts is None:
        return {}
    low, high = (end if end is None else end * watts for end in (latency.low, latency.high))
    return {"energy": Measurement(latency.value * watts, "J", "estimated", low, high, latency.repeats)}


def library_name(goal: Goal) -> str:
    """The file of a student compiled for a goal's target."""
    return f"student-{goal.target}.so" if goal.target else "student.so"


def _compiled_cost(
    bench: Workbench, target: Target, module: Any, library: Path, stages: Stages
) -> dict[str, Measurement]:
    choose: Chooser = first
    if target.tuner is not None:
        with stages.stage("tune"):
            choose = target.tuner(module)
    with bench.working():
        compiled = compile_module(module, target.profile, library, choose)
    for stage, seconds in compiled.seconds.items():
        stages.add(stage, seconds)
    return {
        "size": Measurement(compiled.size_bytes, "byte"),
        "memory": Measurement(compiled.memory_bytes, "byte", source="estimated"),
    }


def _latency(target: Target, library: Path, inputs: Array, expected: Array, stages: Stages) -> Measurement:
    """The latency of a student that agrees with torch on the inputs."""
    with stages.stage("verify"):
        pictures = np.split(inputs, len(inputs))
        compare(expected, np.concatenate([target.device.run(library, picture) for picture in pictures]))
    with stages.stage("measure"):
        return target.device.measure(library, inputs[:1])
