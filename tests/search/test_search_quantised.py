"""A search for students of integers, from its options to a bundle."""

from __future__ import annotations

import json

import pytest

from results.store import RunStore
from search.checks import check_names
from search.config import SearchConfig
from tests.search.conftest import call_here
from understudy import ConfigError


def test_a_search_for_students_of_integers(workplace):
    options = ("--data", "shapes", "--trials", "2", "--workers", "1", "--epochs", "2", "--final-epochs", "2")
    done = call_here(
        workplace, "search", *options, "--quantise", "mixed", "--finalists", "1", "--name", "integers"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    store = RunStore.open(workplace / "results" / "runs" / "integers")
    assert {each.state for each in store.candidates()} == {"done"}
    assert all("bits.stages.0" in each.choice for each in store.candidates())
    (student,) = store.students()
    assert student.quantised["weight_bits"] in (7, 8)
    assert student.quantised["agreement"] > 0.9
    assert {"float_latency", "float_size"} <= student.measurements.keys()
    shown = call_here(workplace, "show", str(store.path)).stdout
    assert "in integers" in " ".join(shown.split())
    assert call_here(workplace, "deploy", str(store.path), "--to", "integers").returncode == 0
    manifest = json.loads((workplace / "integers" / "manifest.json").read_text())
    assert manifest["quantised"] == student.quantised
    assert "latency" in manifest["figures"]


def test_options_that_do_not_go_with_integers():
    with pytest.raises(ConfigError, match="unknown quantise 'int9': did you mean 'int8'"):
        SearchConfig(quantise="int9")
    with pytest.raises(ConfigError, match="epochs and final_epochs must be at least 2, but got 1"):
        SearchConfig(quantise="int8", epochs=1)
    with pytest.raises(ConfigError, match="runs students on its GPU"):
        check_names(SearchConfig(quantise="int8", profile=("jetson-orin-nano",)))
