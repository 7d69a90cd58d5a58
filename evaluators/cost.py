"""What a network costs on the targets of a search: compiled, checked against torch, and measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from evaluators.compile.choices import Chooser, first
from evaluators.compile.compiler import link_kernels, lower_kernels
from evaluators.compile.kernel_facts import network_facts
from evaluators.compile.kernel_times import list_kernels
from evaluators.compile.tune.search import Tuner
from evaluators.compile.verify import TOLERANCE, compare, expected_outputs
from evaluators.device import Device
from evaluators.latency.predict.gpu import least_latency
from evaluators.latency.predict.predictor import Predictor
from evaluators.programs import STUDENT, programs_of
from evaluators.quantise.integer import delivered
from evaluators.quantise.onnx_file import import_student, tolerance_of
from evaluators.stages import Stages
from evaluators.target import Target
from evaluators.workbench import Workbench
from hw_profiles.profile import Profile
from results.bundle.runner import Inputs, as_tuple
from results.goals import Goal
from results.measurement import NOT_MEASURED, Measurement
from spaces.batch import Batch, parts
from understudy import DeviceLost

Working = Callable[[], AbstractContextManager[object]]


def cost_of(
    bench: Workbench, network: nn.Module, inputs: Batch, folder: Path, stages: Stages
) -> dict[str, Measurement]:
    """Size, memory, latency and energy of a network on every target, by the names of the record.

    One of several programs costs the sum of their sizes and memories; its latency is that of a call.

    Its libraries are left in ``folder`` (``library_name``). ``inputs`` are a few samples as the network gets
    them, such as (n, C, R, R). A network whose size or memory is over a target's budget is not run there, and one
    that disagrees with torch is not timed. Raises ``CompileError`` and ``MeasureError``.
    """
    network = delivered(network)
    costs: dict[str, dict[str, Measurement]] = {}
    for program in programs_of(network, inputs):
        with bench.working(), stages.stage("export"):
            module = import_student(program.network, program.example, program.ins, program.outs)
            tolerance = tolerance_of(program.network)
        with bench.working(), stages.stage("verify"):
            expected = expected_outputs(program.network, *parts(program.inputs))
        arrays = as_arrays(program.inputs)
        for target in bench.targets:
            library = folder / library_name(target.goal, program.name)
            found = cost_on(target, module, library, arrays, expected, bench.working, stages, tolerance)
            costs[target.goal.target] = _joined(costs.get(target.goal.target, {}), found, program.metric)
    return {
        target.goal.name(metric): figure
        for target in bench.targets
        for metric, figure in costs[target.goal.target].items()
    }


def _joined(
    known: Mapping[str, Measurement], more: Mapping[str, Measurement], metric: str
) -> dict[str, Measurement]:
    """The figures of a student that another program is added to, whose time is the figure ``metric``."""
    if not known:
        return dict(more)
    sums = {name: replace(known[name], value=known[name].value + more[name].value) for name in ("size", "memory")}
    return {**known, **sums, **({metric: more["latency"]} if "latency" in more else {})}


def cost_on(
    target: Target,
    module: Any,
    library: Path,
    inputs: Inputs,
    expected: Any,
    working: Working,
    stages: Stages,
    tolerance: float = TOLERANCE,
) -> dict[str, Measurement]:
    """What a relax module costs on one target, by metric; ``working`` is entered around all but measuring.

    Where no device runs its code, or the one that does is lost and the target has a ``fallback``, nothing can be
    compared with torch, and the latency is a prediction; kernels are built as they are known to be best.
    """
    choose: Chooser = first
    if target.tuner is not None:
        with stages.stage("tune"):
            choose = _tuned(target, target.tuner, module)
    with working():
        with stages.stage("lower"):
            computed, scheduled = lower_kernels(module, target.profile, choose)
        compiled = link_kernels(scheduled, target.profile, library)
    for stage, seconds in compiled.seconds.items():
        stages.add(stage, seconds)
    figures = {
        "size": Measurement(compiled.size_bytes, "byte"),
        "memory": Measurement(compiled.memory_bytes, "byte", source="estimated"),
    }
    if target.goal.budget.violation(figures) is not None:
        return figures
    if isinstance(target.device, Predictor):
        with working(), stages.stage("predict"):
            latency = _predicted(target.device, computed, scheduled)
    else:
        try:
            latency = _measured(target.device, library, inputs, expected, stages, tolerance)
        except DeviceLost as error:
            if target.fallback is None:
                raise
            with working(), stages.stage("predict"):
                guess = _predicted(target.fallback(), computed, scheduled)
            latency = replace(guess, conditions=f"{NOT_MEASURED}{error}")
    return {**figures, "latency": latency, **energy_of(latency, target.profile)}


def energy_of(latency: Measurement, profile: Profile) -> dict[str, Measurement]:
    """``energy``: joules of an inference, latency times the device's power at work; nothing where that is unknown.

    An estimate: a device at work draws more or less than the figure of its profile.
    """
    watts = profile.active_w
    if watts is None:
        return {}
    low, high = (end if end is None else end * watts for end in (latency.low, latency.high))
    return {"energy": Measurement(latency.value * watts, "J", "estimated", low, high, latency.repeats)}


def library_name(goal: Goal, program: str = STUDENT) -> str:
    """The file of a student, or of another program of it, compiled for a goal's target."""
    return f"{program}-{goal.target}.so" if goal.target else f"{program}.so"


def _tuned(target: Target, tuner: Tuner, module: Any) -> Chooser:
    """The chooser of what was measured of the network's kernels; of what is known, where the device is lost."""
    try:
        return tuner(module)
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


def _measured(
    device: Device, library: Path, inputs: Inputs, expected: Any, stages: Stages, tolerance: float
) -> Measurement:
    """The latency of a student that agrees with torch on the inputs."""
    with stages.stage("verify"):
        if isinstance(expected, tuple):  # several outputs, of one call
            samples = [inputs]
            compare(expected, as_tuple(device.run(library, inputs)), tolerance)
        else:
            samples = one_by_one(inputs)
            compare(expected, np.concatenate([device.run(library, sample) for sample in samples]), tolerance)
    with stages.stage("measure"):
        return device.measure(library, samples[0])


def as_arrays(batch: Batch) -> Inputs:
    """A batch as a compiled student takes it: one array, or a tuple of them."""
    arrays = tuple(part.numpy() for part in parts(batch))
    return arrays if isinstance(batch, tuple) else arrays[0]


def one_by_one(inputs: Inputs) -> list[Inputs]:
    """The samples of a batch as batches of one."""
    if not isinstance(inputs, tuple):
        return list(np.split(inputs, len(inputs)))
    return list(zip(*(np.split(part, len(part)) for part in inputs), strict=True))
