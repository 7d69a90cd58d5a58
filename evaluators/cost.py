"""What a network costs on the targets of a search: compiled, checked against torch, and measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from evaluators.compile.choices import Chooser, first
from evaluators.compile.compiler import Lowered, link_kernels, lower_programs
from evaluators.compile.kernel_facts import network_facts
from evaluators.compile.kernel_times import list_kernels
from evaluators.compile.together import joined
from evaluators.compile.tune.search import Tuner
from evaluators.compile.verify import TOLERANCE, compare, expected_outputs
from evaluators.device import Device
from evaluators.latency.predict.gpu import least_latency
from evaluators.latency.predict.predictor import Predictor
from evaluators.programs import Program, programs_of
from evaluators.quantise.integer import delivered
from evaluators.quantise.onnx_file import import_student, tolerance_of
from evaluators.stages import Stages
from evaluators.target import Target
from evaluators.workbench import Workbench
from hw_profiles.profile import Profile
from results.bundle.runner import MAIN, Inputs, as_tuple
from results.goals import Goal
from results.measurement import NOT_MEASURED, Measurement
from spaces.batch import Batch, parts
from understudy import DeviceLost

Working = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Imported:
    """A program as a relax module, and what torch answers to ``inputs``, a few real ones.

    ``name`` is what its library calls it, its time the figure ``metric``; ``tolerance`` is that of ``compare``.
    """

    module: Any
    inputs: Inputs
    expected: Any
    tolerance: float = TOLERANCE
    name: str = MAIN
    metric: str = "latency"


def cost_of(
    bench: Workbench, network: nn.Module, inputs: Batch, folder: Path, stages: Stages
) -> dict[str, Measurement]:
    """Size, memory, latency and energy of a network on every target, by the names of the record.

    One of several programs is one library, with its weights once; its latency is that of a call.

    Its libraries are left in ``folder`` (``library_name``). ``inputs`` are a few samples as the network gets
    them, such as (n, C, R, R). A network whose size or memory is over a target's budget is not run there, and one
    that disagrees with torch is not timed. Raises ``CompileError`` and ``MeasureError``.
    """
    imported = [_imported(bench, program, stages) for program in programs_of(delivered(network), inputs)]
    costs = {}
    for target in bench.targets:
        found = cost_on(target, imported, folder / library_name(target.goal), bench.working, stages)
        costs.update({target.goal.name(metric): figure for metric, figure in found.items()})
    return costs


def _imported(bench: Workbench, program: Program, stages: Stages) -> Imported:
    with bench.working(), stages.stage("export"):
        module = import_student(program.network, program.example, program.ins, program.outs)
        tolerance = tolerance_of(program.network)
    with bench.working(), stages.stage("verify"):
        expected = expected_outputs(program.network, *parts(program.inputs))
    return Imported(module, as_arrays(program.inputs), expected, tolerance, program.function, program.metric)


def cost_on(
    target: Target, programs: Sequence[Imported], library: Path, working: Working, stages: Stages
) -> dict[str, Measurement]:
    """What a network's programs cost on one target, by metric; ``working`` is entered around all but measuring.

    Where no device runs its code, or the one that does is lost and the target has a ``fallback``, nothing can be
    compared with torch, and the latency is a prediction; kernels are built as they are known to be best.
    """
    choose: Chooser = first
    if target.tuner is not None:
        with stages.stage("tune"):
            choose = _tuned(target, target.tuner, [program.module for program in programs])
    with working():
        with stages.stage("lower"):
            lowered = lower_programs([program.module for program in programs], target.profile, choose)
            together = joined(
                {program.name: scheduled for program, (_, scheduled) in zip(programs, lowered, strict=True)}
            )
        compiled = link_kernels(together, target.profile, library)
    for stage, seconds in compiled.seconds.items():
        stages.add(stage, seconds)
    figures = {
        "size": Measurement(compiled.size_bytes, "byte"),
        "memory": Measurement(compiled.memory_bytes, "byte", source="estimated"),
    }
    if target.goal.budget.violation(figures) is not None:
        return figures
    for program, kernels in zip(programs, lowered, strict=True):
        figures[program.metric] = _latency(target, program, kernels, library, working, stages)
    return {**figures, **energy_of(figures["latency"], target.profile)}


def _latency(
    target: Target, program: Imported, kernels: Lowered, library: Path, working: Working, stages: Stages
) -> Measurement:
    """How long a program of a library takes: measured, or predicted by its kernels."""
    if isinstance(target.device, Predictor):
        with working(), stages.stage("predict"):
            return _predicted(target.device, *kernels)
    try:
        return _measured(target.device, library, program, stages)
    except DeviceLost as error:
        if target.fallback is None:
            raise
        with working(), stages.stage("predict"):
            guess = _predicted(target.fallback(), *kernels)
        return replace(guess, conditions=f"{NOT_MEASURED}{error}")


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


def _tuned(target: Target, tuner: Tuner, modules: Sequence[Any]) -> Chooser:
    """The chooser of what was measured of the network's kernels; of what is known, where the device is lost."""
    try:
        return tuner(*modules)
    except DeviceLost:
        if target.fallback is None:
            raise
        return tuner.known()


def _predicted(predictor: Predictor, computed: Any, scheduled: Any) -> Measurement:
    """The latency of a network as ``lower_kernels`` returned it; a GPU's is an estimate from below."""
    profile = predictor.profile
    if profile.gpu is not None:
        return least_latency(list_kernels(computed, scheduled), profile)
    return predictor.predict(network_facts(computed, scheduled, profile))


def _measured(device: Device, library: Path, program: Imported, stages: Stages) -> Measurement:
    """The latency of a program that agrees with torch on its inputs."""
    several = isinstance(program.expected, tuple)  # outputs, of one call
    samples = [program.inputs] if several else one_by_one(program.inputs)
    with stages.stage("verify"):
        found = [device.run(library, sample, program.name) for sample in samples]
        compare(program.expected, as_tuple(found[0]) if several else np.concatenate(found), program.tolerance)
    with stages.stage("measure"):
        return device.measure(library, samples[0], program.name)


def as_arrays(batch: Batch) -> Inputs:
    """A batch as a compiled student takes it: one array, or a tuple of them."""
    arrays = tuple(part.numpy() for part in parts(batch))
    return arrays if isinstance(batch, tuple) else arrays[0]


def one_by_one(inputs: Inputs) -> list[Inputs]:
    """The samples of a batch as batches of one."""
    if not isinstance(inputs, tuple):
        return list(np.split(inputs, len(inputs)))
    return list(zip(*(np.split(part, len(part)) for part in inputs), strict=True))
