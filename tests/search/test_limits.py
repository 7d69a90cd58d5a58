from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from results.store import RunStore
from search.config import SearchConfig, load_config
from search.display import Display
from search.preparation import prepare
from understudy import ConfigError


def _config(workplace, monkeypatch, **limits) -> SearchConfig:
    monkeypatch.chdir(workplace)
    return SearchConfig(data="shapes", space="mlp", teacher="teacher.py:small", **limits).anchored()


def _display() -> tuple[Display, StringIO]:
    told = StringIO()
    return Display(Console(file=told, width=200)), told


def test_a_limit_that_is_a_part_of_the_teachers_is_known_once_that_is_measured(workplace, tmp_path, monkeypatch):
    config = _config(workplace, monkeypatch, max_latency="teacher/0.001", max_size="teacher/0.01")
    store, (display, told) = RunStore.create(tmp_path / "run"), _display()
    prepared = prepare(config, store, display)
    teacher = prepared.facts["teacher"]
    limits = {"latency": teacher["latency"]["value"] / 0.001, "size": teacher["size"]["value"] / 0.01}
    assert prepared.facts["budget"] == pytest.approx(limits, rel=1e-3)
    kept = load_config(store.path / "config.yaml", {})
    assert kept.goals == prepared.plan.config.goals
    assert not kept.relative
    assert "Limits on x86-host, of the teacher's where they are parts of it: latency" in told.getvalue()


def test_what_no_student_reaches_is_refused_before_anything_is_taught(workplace, tmp_path, monkeypatch):
    config = _config(workplace, monkeypatch, max_latency="teacher/1000000")
    with pytest.raises(ConfigError, match="below the smallest student"):
        prepare(config, RunStore.create(tmp_path / "run"), _display()[0])
