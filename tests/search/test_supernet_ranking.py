"""Whether a supernet's scores are gone by: what is measured, and what is not measured twice."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from rich.console import Console

import search.ranking as ranking
from evaluators.supernet.kept import read_facts
from evaluators.supernet.sample import SAMPLE
from search.display import Display
from tests.benchmarks.scale import MadeUp


@pytest.fixture
def measured(monkeypatch) -> list[str]:
    """What was asked for: each sub-network ``taught``, ``scored`` or ``tuned``; made-up figures, no trainings.

    What is asked for ends where it is waited for.
    """
    asked: list[str] = []
    found = []

    def begun(plan, devices, choice, place, known):
        trained = place / 10
        known = known or {"choice": dict(choice), "trained": trained, "train_seconds": 9.0}
        if plan.taught and known.get("inherited") is None:
            asked.append("scored")
            known = {**known, "inherited": trained if plan.ranks else -trained, "score_seconds": 1.0}
        elif plan.taught:
            asked.append("tuned")
            known = {**known, "fine_tuned": trained if plan.tuning_ranks else -trained, "tune_seconds": 3.0}
        else:
            asked.append("taught")
        found.append(known)
        return len(found) - 1

    def ended(references, timeout):
        return [] if timeout == 0 else [(reference, found[reference]) for reference in references[:1]]

    monkeypatch.setattr(ranking, "_begun", begun)
    monkeypatch.setattr(ranking, "_ended", ended)
    monkeypatch.setattr(ranking, "_teaching", lambda plan: "soft-targets, 6 epochs")
    return asked


def made_plan(taught: bool = True, ranks: bool = True, tuning_ranks: bool = False) -> SimpleNamespace:
    return SimpleNamespace(space=MadeUp, taught=taught, ranks=ranks, tuning_ranks=tuning_ranks)


def ranked(folder, ranks: bool, tuning_ranks: bool = False) -> dict:
    plan = made_plan(True, ranks, tuning_ranks)
    return ranking.Ranking(plan, (), folder, read_facts(folder)).ranked(plan, Display(Console(quiet=True)))


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


def test_the_sample_is_taught_beside_the_supernet_and_scored_behind_it(measured, tmp_path):
    sample = ranking.Ranking(made_plan(taught=False), (), tmp_path, {})
    sample.beside()
    sample.beside()
    assert measured == ["taught"] * SAMPLE, "once"
    facts = sample.ranked(made_plan(), Display(Console(quiet=True)))
    assert measured == ["taught"] * SAMPLE + ["scored"] * SAMPLE
    assert facts["trusted"]
    assert [each["train_seconds"] for each in facts["sample"].values()] == [9.0] * SAMPLE


def test_what_was_taught_beside_a_supernet_that_was_cut_off_is_kept(measured, monkeypatch, tmp_path):
    sample = ranking.Ranking(made_plan(taught=False), (), tmp_path, {})
    sample.beside()
    in_time = ranking._ended
    monkeypatch.setattr(ranking, "_ended", lambda references, timeout: in_time(references[:3], None))
    sample.beside()
    again = ranking.Ranking(made_plan(taught=False), (), tmp_path, read_facts(tmp_path))
    again.beside()
    assert len(measured) == SAMPLE + SAMPLE - 1
