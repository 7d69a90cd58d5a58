"""A search for two targets at once, both of which this computer can stand for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hw_profiles.profile import load_profile
from results.frame import read_frame
from results.store import RunStore
from tests.search.conftest import QUICK, call_here

TARGETS = ("x86-host", "x86-64-avx2")


@pytest.fixture(scope="module")
def both(workplace) -> Path:
    if load_profile("x86-64-avx2").reach != "host":
        pytest.skip("this computer has no AVX2, so it cannot stand for two targets")
    options = (*QUICK, "--trials", "1", "--workers", "1", "--epochs", "1", "--final-epochs", "1")
    targets = (*("--profile", TARGETS[0], "--profile", TARGETS[1]), *("--max-latency", f"{TARGETS[1]}=1ns"))
    done = call_here(workplace, "search", *options, *targets, "--finalists", "1", "--name", "both")
    assert "the budget is below" not in done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    return workplace / "results" / "runs" / "both"


def test_one_record_holds_the_figures_of_every_target(both):
    for candidate in RunStore.open(both).candidates():
        assert candidate.state == "done", "within the limits of one target is enough"
        assert {f"latency@{target}" for target in TARGETS} <= candidate.measurements.keys()
        assert "accuracy" in candidate.measurements
    near, far = (read_frame(both, target) for target in TARGETS)
    assert near.on_front.any()
    assert not far.on_front.any(), "a limit of one target is none of another's"
    assert (near.accuracy == far.accuracy).all()


def test_each_target_has_its_front_its_report_and_its_bundle(both, workplace):
    shown = call_here(workplace, "show", str(both)).stdout
    for target in TARGETS:
        assert f"The front on {target}" in shown
        assert "Targets of this run" in (both / f"report-{target}.html").read_text(encoding="utf-8")
        assert (both / f"front-{target}.svg").is_file()
    refused = call_here(workplace, "deploy", str(both), "--to", "bundle-both")
    assert "several hardware targets: name one of x86-host, x86-64-avx2 with --profile" in refused.stderr
    done = call_here(workplace, "deploy", str(both), "--profile", TARGETS[0], "--to", "bundle-both")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((workplace / "bundle-both" / "manifest.json").read_text())
    assert manifest["target"]["profile"] == TARGETS[0]
    assert "latency" in manifest["figures"]
