"""What is said of a supernet: its cost, its ranking, what it spared."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_run import make_run

from results.report.page import report_html
from results.supernet import supernet_sentences
from results.view import read_view

FACTS = {
    "epochs": 30,
    "seconds": 60.0,
    "workers": 2,
    "kendall": 0.71,
    "spearman": 0.83,
    "trusted": True,
    "sample": {
        "0": {"choice": {}, "inherited": 0.8, "trained": 0.9, "score_seconds": 0.5, "train_seconds": 20.0},
        "1": {"choice": {}, "inherited": 0.6, "trained": 0.85, "score_seconds": 0.5, "train_seconds": 10.0},
        "2": None,
    },
}


def test_report_and_sentences_name_the_supernet(tmp_path):
    store = make_run(tmp_path / "run", 12)
    assert supernet_sentences(store.facts(), store.candidates()) == []
    assert "The supernet" not in report_html(read_view(store), Path("run"))
    store.write_facts({**store.facts(), "supernet": FACTS})
    page = report_html(read_view(store), Path("run"))
    assert "The supernet" in page
    assert "on 2 sub-networks at random" in page
    first, *_ = supernet_sentences(store.facts(), store.candidates())
    assert "trained here (30 epochs in 1 min on 2 workers)" in first
    assert "Kendall 0.71, Spearman 0.83: candidates are scored with inherited weights" in first


def test_what_it_learnt_from_is_said():
    sentence, *_ = supernet_sentences({"supernet": {**FACTS, "origin": {"supervision": "blocks"}}}, [])
    assert "30 epochs, block by block, in 1 min" in sentence


def test_a_supernet_that_ranks_badly_is_said_to():
    sentence, *_ = supernet_sentences({"supernet": {**FACTS, "from": "results/runs/a", "trusted": False}}, [])
    assert "taken from results/runs/a" in sentence
    assert "too little to go by, so candidates are taught, beginning with inherited weights" in sentence


@pytest.mark.parametrize(
    ("trusted", "follows"),
    [(True, "so candidates are fine-tuned"), (False, "too little as well: candidates are taught")],
)
def test_it_is_said_how_fine_tuned_sub_networks_rank(trusted, follows, tmp_path):
    tuned = {"kendall": 0.55, "spearman": 0.6, "trusted": trusted}
    sample = {**FACTS["sample"], "0": {**FACTS["sample"]["0"], "fine_tuned": 0.87, "tune_seconds": 3.0}}
    facts = {**FACTS, "trusted": False, "tuned": tuned, "sample": sample}
    sentence, *_ = supernet_sentences({"supernet": facts}, [])
    assert "fine-tuned for a third of the epochs they rank with Kendall 0.55" in sentence
    assert follows in sentence
    store = make_run(tmp_path / "run", 12)
    store.write_facts({**store.facts(), "supernet": facts})
    assert "fine-tuned</th>" in report_html(read_view(store), Path("run"))
