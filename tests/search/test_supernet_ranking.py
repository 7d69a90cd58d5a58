"""Whether a supernet's scores are gone by: what is measured, and what is not measured twice."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from rich.console import Console

import search.supernet as ranking
from evaluators.supernet.kept import read_facts
from evaluators.supernet.sample import SAMPLE
from search.display import Display
from tests.benchmarks.scale import MadeUp


@pytest.fixture
def measured(monkeypatch) -> list[str]:
    """What was asked for: ``scored`` or ``tuned`` for each sub-network; made-up figures instead of trainings."""
    asked: list[str] = []

    def sampled(plan, devices, wanted):
        for place, (choice, known) in wanted.items():
            asked.append("scored" if known is None else "tuned")
            trained = int(place) / 10
            score = {"inherited": trained if plan.ranks else -trained, "score_seconds": 1.0, "train_seconds": 9.0}
            found = {"choice": dict(choice), "trained": trained, **score}
            tuned = trained if plan.tuning_ranks else -trained
            yield place, found if known is None else {**known, "fine_tuned": tuned, "tune_seconds": 3.0}

    monkeypatch.setattr(ranking, "_sampled", sampled)
    monkeypatch.setattr(ranking, "_teaching", lambda plan: "soft-targets, 6 epochs")
    return asked


def ranked(folder, ranks: bool, tuning_ranks: bool = False) -> dict:
    plan = SimpleNamespace(space=MadeUp, ranks=ranks, tuning_ranks=tuning_ranks)
    return ranking._ranked(plan, (), folder, read_facts(folder), Display(Console(quiet=True)))


def test_scores_that_rank_are_enough(measured, tmp_path):
    facts = ranked(tmp_path, ranks=True)
    assert (facts["trusted"], facts["kendall"], "tuned" in facts) == (True, pytest.approx(1), False)
    assert measured == ["scored"] * SAMPLE


@pytest.mark.parametrize("helps", [True, False])
def test_where_scores_do_not_rank_fine_tuning_is_tried_once(helps, measured, tmp_path):
    facts = ranked(tmp_path, ranks=False, tuning_ranks=helps)
    assert (facts["trusted"], facts["kendall"]) == (False, pytest.approx(-1))
    assert (facts["tuned"]["trusted"], facts["tuned"]["kendall"]) == (helps, pytest.approx(1 if helps else -1))
    assert measured == ["scored"] * SAMPLE + ["tuned"] * SAMPLE
    assert ranked(tmp_path, ranks=False, tuning_ranks=helps) == facts == read_facts(tmp_path)
    assert len(measured) == 2 * SAMPLE, "what is known is not measured again"
