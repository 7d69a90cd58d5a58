"""TVM's own tuner on one kernel: what it finds, where it is applied, and that its failures are harmless."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import tvm
from torch import nn

from evaluators.compile.choices import first
from evaluators.compile.compiler import link_kernels
from evaluators.compile.export import export_network, import_program
from evaluators.compile.kernel_times import list_kernels
from evaluators.compile.tune.build import search_schedule
from evaluators.compile.tune.builders import Builders
from evaluators.compile.tune.database import VARIABLE, Database, target_of
from evaluators.compile.tune.metaschedule import LEAST_S, find_schedules, replaced_kernels
from evaluators.compile.tune.racer import ChildRacer
from evaluators.compile.tune.schedule_search import Found
from evaluators.compile.tune.search import Tuner
from evaluators.compile.tune.tuned import TuningRequest, compile_tuned
from evaluators.compile.verify import verify
from evaluators.latency.host import HostDevice
from evaluators.latency.quiet import QuietCores
from hw_profiles.profile import load_profile
from understudy import MeasureError

PROFILE = load_profile("x86-host").with_threads(1)


class Residual(nn.Module):
    """The same product twice behind a first layer that reads the user's layout, something else fused to each."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(16, 16, 1)
        self.second, self.third = nn.Conv2d(16, 16, 1, bias=False), nn.Conv2d(16, 16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.relu6(self.first(x))
        return nn.functional.relu6(self.third(nn.functional.gelu(self.second(y)) + y))


@pytest.fixture(scope="module")
def layers() -> nn.Module:
    torch.manual_seed(0)
    return Residual().eval()


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.randn(1, 16, 8, 8)


@pytest.fixture(scope="module")
def module(layers: nn.Module, x: torch.Tensor) -> tvm.IRModule:
    return import_program(export_network(layers, (x,)))


@pytest.fixture(scope="module")
def tuner(module: tvm.IRModule, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuner]:
    folder = tmp_path_factory.mktemp("tuner")
    racer, builders = ChildRacer(PROFILE, None), Builders(PROFILE, 1)
    tuner = Tuner(PROFILE, Database(folder / "kernels.sqlite"), racer, builders, 0.1)
    tuner(module)
    yield tuner
    racer.close()
    builders.close()


def test_a_schedule_found_fits_whatever_is_fused_behind_and_computes_the_same(
    layers: nn.Module, x: torch.Tensor, module: tvm.IRModule, tuner: Tuner, tmp_path: Path
) -> None:
    (case,) = (case for case in tuner.cases if case.count == 2)
    (found,) = tuner.builders.each(search_schedule, [(case, PROFILE, 0.1, None)], 60)
    assert found.trials >= 1
    kernels = replaced_kernels(module, tuner, first, {str(case.key): found})
    assert [kernel.rule for kernel in list_kernels(kernels, kernels)].count("metaschedule") == 2
    compiled = link_kernels(kernels, PROFILE, tmp_path / "student.so")
    device = HostDevice(PROFILE)
    assert verify(layers, lambda batch: device.run(compiled.library, batch), x) < 1e-5


def test_what_crashes_hangs_or_raises_costs_its_time_and_nothing_else(module: tvm.IRModule, tuner: Tuner) -> None:
    assert tuner.builders.each(os._exit, [(3,)], 20) == [None]
    assert tuner.builders.each(time.sleep, [(60,)], 0.2) == [None]
    assert tuner.builders.each(divmod, [(7, 2), (1, 0), (9, 2)], 60) == [(3, 1), None, (4, 1)]
    broken = replace(tuner, cases=[replace(case, graph=f"{{{number}") for number, case in enumerate(tuner.cases)])
    broken.table = [replace(row, default_s=1.0, best_s=1.0) for row in tuner.table]
    schedules = find_schedules(broken, first, None, 2 * LEAST_S)
    assert str(schedules) == "MetaSchedule: 0 of 2 kernels faster than ours after 0 trials, 0 known in all"
    unfit = {str(case.key): Found("{", "{", 1) for case in tuner.cases}
    with pytest.raises(MeasureError, match="does not fit"):
        replaced_kernels(module, tuner, first, unfit)


def test_schedules_that_are_known_race_the_other_ways_to_build_a_network(
    layers: nn.Module,
    x: torch.Tensor,
    module: tvm.IRModule,
    tuner: Tuner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, str(tuner.database.path))
    for case in tuner.cases:
        tuner.database.store_schedule(target_of(PROFILE), case.key, Found("{", "{", 1), 0.5)
    known = Database(tuner.database.path).read_schedules(target_of(PROFILE))
    assert known == {str(case.key): (Found("{", "{", 1), 0.5) for case in tuner.cases}
    request, quiet = TuningRequest(0, metaschedule=True), QuietCores(tmp_path / "lock")
    compiled, tuning = compile_tuned(module, PROFILE, tmp_path / "student.so", request, quiet)
    assert "2 known in all" in str(tuning.schedules)
    device = HostDevice(PROFILE)
    assert verify(layers, lambda batch: device.run(compiled.library, batch), x) < 1e-5
