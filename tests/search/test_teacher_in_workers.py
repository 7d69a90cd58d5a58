from __future__ import annotations

import io

import pytest
from rich.console import Console

from evaluators.distill.catalogue import load_distiller
from evaluators.teachers.teacher import ModuleTeacher
from results.store import RunStore
from search.config import SearchConfig
from search.display import Display
from search.preparation import plan_of, prepare
from understudy import ConfigError

NETWORK = """
from torch import nn

def network():
    return nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A search on digits under a teacher from a file, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "teacher.py").write_text(NETWORK)
    return SearchConfig(teacher="teacher.py:network", distill="hints", runs=str(tmp_path / "runs"))


def test_a_worker_opens_the_teacher_when_a_distiller_reads_layers(config, tmp_path):
    store = RunStore.create(tmp_path / "runs" / "digits")
    plan, task = plan_of(config, store, Display(Console(file=io.StringIO())))
    bench = plan.open()
    assert bench.teacher_for(load_distiller("soft-targets")) is None
    assert "teacher" not in vars(bench)
    teacher = bench.teacher_for(bench.distiller)
    assert isinstance(teacher, ModuleTeacher)
    assert teacher.classes == task.classes
    assert bench.teacher is teacher


def test_layers_that_are_not_there_end_a_search_before_it_begins(config, tmp_path):
    wrong = SearchConfig(**{**vars(config), "distill": "hints:student=steem,teacher=0"})
    store = RunStore.create(tmp_path / "runs" / "digits")
    with pytest.raises(ConfigError, match=r"the student has no layer 'steem': the nearest are stem"):
        prepare(wrong, store, Display(Console(file=io.StringIO())))
