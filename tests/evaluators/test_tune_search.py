"""The measured search, on real kernels."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tvm
from torch import nn

from evaluators.compile.choices import first, spelled
from evaluators.compile.compiler import compile_module
from evaluators.compile.export import export_network, import_program
from evaluators.compile.graph.prepare import prepare
from evaluators.compile.together import packing_of
from evaluators.compile.tune import search
from evaluators.compile.tune.build import build_option
from evaluators.compile.tune.builders import Builders
from evaluators.compile.tune.cases import find_cases
from evaluators.compile.tune.child import Child, ChildDiedError, ChildRaisedError
from evaluators.compile.tune.database import VARIABLE, Database, target_of
from evaluators.compile.tune.measure import Measuring
from evaluators.compile.tune.racer import ChildRacer
from evaluators.compile.tune.search import Tuner
from evaluators.compile.tune.tuned import TuningRequest, compile_tuned
from evaluators.compile.verify import verify
from evaluators.cost import Imported, cost_on
from evaluators.latency.host import HostDevice
from evaluators.latency.predict.store import LatencyStore
from evaluators.latency.quiet import QuietCores
from evaluators.latency.race import Lap, race
from evaluators.stages import Stages
from evaluators.target import Target
from hw_profiles.profile import Profile, load_profile
from results.budget import Budget
from results.bundle.runner import MAIN, Inputs
from results.goals import Goal
from understudy import DeviceLost, MeasureError


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("x86-host").with_threads(1)


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child()
    yield child
    child.close()


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 24, 3, 2, 1), nn.ReLU(), nn.Conv2d(24, 24, 1), nn.ReLU(), nn.Conv2d(24, 24, 1), nn.ReLU()
    )


def imported() -> tuple[nn.Module, torch.Tensor, tvm.IRModule]:
    layers, x = network(), torch.randn(1, 3, 16, 16)
    return layers, x, import_program(export_network(layers, (x,)))


def test_the_kernels_with_options_are_found_once_with_their_count(profile: Profile) -> None:
    cases = find_cases([prepare(imported()[2], profile)], profile, first)
    assert [case.count for case in cases] == [1, 2]
    assert all(len(case.options) > 1 for case in cases)


def test_tuned_networks_equal_torch_and_what_is_known_is_not_measured_again(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "BATCH", 2)
    monkeypatch.setattr(search, "LEAST_SHARE", 0.2)
    layers, x, module = imported()
    database = Database(tmp_path / "kernels.sqlite")
    racer, builders = ChildRacer(profile, None), Builders(profile, 1)
    tuner = Tuner(profile, database, racer, builders, seconds=60)
    try:
        choose = tuner(module)
    finally:
        racer.close()
        builders.close()
    assert [row.count for row in tuner.table] in ([1, 2], [2, 1])
    assert max(row.tried for row in tuner.table) > 1
    assert all(row.best_s <= row.default_s for row in tuner.table)
    assert len(database.read(target_of(profile))) == 2
    compiled = compile_module(module, profile, tmp_path / "student.so", choose)
    device = HostDevice(profile)
    assert verify(layers, lambda batch: device.run(compiled.library, batch), x) < 1e-5
    again = Tuner(profile, database, racer, builders, seconds=0)
    again(module)
    assert again.table == tuner.table


def test_a_matrix_of_two_programs_is_tuned_in_the_packing_that_they_share(
    profile: Profile, tmp_path: Path
) -> None:
    layer = nn.Linear(64, 96).eval()
    modules = [import_program(export_network(layer, (torch.randn(rows, 64),))) for rows in (1, 40)]
    graphs = [prepare(module, profile) for module in modules]
    cases = find_cases(graphs, profile, first, packing_of(graphs, profile))
    assert len(cases) == 2
    (panel,) = {dict(case.key.facts)["panel"] for case in cases}
    assert {option["vectors"] * option["lanes"] % panel for case in cases for option in case.options} == {0}
    for case in cases:
        assert build_option(case, case.options[-1], profile, tmp_path / "kernel.so") >= 1


def test_a_race_keeps_the_first_and_refuses_wrong_results() -> None:
    def slow(x: np.ndarray) -> np.ndarray:
        time.sleep(0.003)
        return x + 1

    laps = race([lambda x: x + 1, slow, lambda x: x + 1.1], np.ones(4, np.float32))
    assert [lap.fault for lap in laps] == ["", "", "wrong"]
    assert laps[0].relative == 1
    assert laps[1].relative > 1
    assert laps[1].repeats < 10


def test_a_child_that_crashes_hangs_or_raises_is_told_apart_and_replaced(child: Child) -> None:
    with pytest.raises(ChildDiedError, match="crashed"):
        child.ask(os._exit, 3, limit_s=20)
    with pytest.raises(ChildRaisedError, match="ZeroDivisionError"):
        child.ask(divmod, 1, 0, limit_s=20)
    with pytest.raises(ChildDiedError, match="late"):
        child.ask(time.sleep, 60, limit_s=0.2)
    assert child.ask(divmod, 7, 2, limit_s=20) == (3, 1)


def test_options_that_cannot_be_built_or_crash_where_they_run_are_faults(profile: Profile, tmp_path: Path) -> None:
    case = find_cases([prepare(imported()[2], profile)], profile, first)[0]
    builders, racer = Builders(profile, 1), Crashing(profile, None)
    measuring = Measuring(racer, builders, nullcontext, tmp_path, time.monotonic() + 60)
    options = [{**case.options[1], "lanes": 0}, *case.options[1:3]]
    try:
        laps = measuring.options(case, options)
    finally:
        racer.close()
        builders.close()
    faults = [laps[spelled(option)].fault.split(":")[0] for option in (case.options[0], *options)]
    assert faults == ["", "refused", "crashed", ""]


class Crashing(ChildRacer):
    """The third library of the folder ends the process that runs it."""

    def race(self, libraries: Sequence[Path], inputs: np.ndarray) -> list[Lap]:
        if any(library.stem == "kernel2" for library in libraries):
            libraries = [Path("/proc/self/mem")]
        return super().race(libraries, inputs)


def test_a_lost_device_is_no_fault_of_the_kernels_and_what_is_known_serves(
    profile: Profile, tmp_path: Path
) -> None:
    builders, database = Builders(profile, 1), Database(tmp_path / "kernels.sqlite")
    tuner = Tuner(profile, database, Gone(), builders, seconds=60)
    layers, x, module = imported()
    program = Imported(module, x.numpy(), layers(x).detach().numpy())
    goal = Goal("", ("accuracy", "latency"), Budget())
    fallback = LatencyStore(tmp_path / "latency.sqlite").predictor(profile)
    target = Target(profile, Gone(), goal, tuner, lambda: fallback)
    try:
        with pytest.raises(DeviceLost):
            tuner(module)
        found = cost_on(target, [program], tmp_path / "student.so", nullcontext, Stages())
    finally:
        builders.close()
    assert found["latency"].source == "predicted"
    assert not database.read(target_of(profile))


class Gone:
    """A device of which no call has an answer."""

    def run(self, library: Path, inputs: Inputs, program: str = MAIN) -> Any:
        raise DeviceLost("no board")

    race = measure = run

    def close(self) -> None:
        """Nothing is held."""


def test_nothing_is_built_when_there_is_no_time(profile: Profile, tmp_path: Path) -> None:
    builders, racer = Builders(profile, 1), ChildRacer(profile, None)
    tuner = Tuner(profile, Database(tmp_path / "kernels.sqlite"), racer, builders, seconds=0)
    choose = tuner(imported()[2])
    assert [row.tried for row in tuner.table] == [0, 0]
    case = find_cases([prepare(imported()[2], profile)], profile, first)[0]
    assert choose(case.key, case.options) == case.options[0]


def test_a_network_compiled_and_tuned_at_once_is_never_slower_by_its_own_account(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "kernels.sqlite"))
    layers, x, module = imported()
    quiet = QuietCores(tmp_path / "lock")
    compiled, tuning = compile_tuned(module, profile, tmp_path / "student.so", TuningRequest(3), quiet)
    assert 0 < tuning.relative <= 1
    assert len(tuning.table) == 2
    assert "timed in turn" in str(tuning)
    assert sorted(tmp_path.glob("*.so")) == [compiled.library]
    device = HostDevice(profile, quiet)
    assert verify(layers, lambda batch: device.run(compiled.library, batch), x) < 1e-5


def test_kernels_of_a_device_that_is_not_here_are_not_tuned(tmp_path: Path) -> None:
    elsewhere = replace(load_profile("x86-host"), name="elsewhere", reach="none")
    with pytest.raises(MeasureError, match="cannot be timed on this computer"):
        compile_tuned(
            imported()[2], elsewhere, tmp_path / "student.so", TuningRequest(1), QuietCores(tmp_path / "lock")
        )
