"""A search with a supernet: taught first, killed meanwhile, and used again by another search."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from results.store import RunStore
from tests.search.conftest import QUICK, call_here, command, environment

OPTIONS = (
    *("--data", "shapes", "--space", "mlp", "--max-latency", "50ms", "--workers", "2", "--trials", "3"),
    *("--epochs", "2", "--final-epochs", "2", "--finalists", "1", "--sampler", "random"),
    *("--teacher", "none", "--distill", "hard-labels"),
)

pytestmark = pytest.mark.timeout(1200)  # the first test pays for two searches


@pytest.fixture(scope="module")
def taught(workplace) -> tuple[Path, str]:
    """A finished run with a supernet of its own, whose training was killed once, and what it said at the end."""
    run = workplace / "results" / "runs" / "taught"
    options = (*OPTIONS, "--supernet", "train", "--supernet-epochs", "4", "--name", "taught")
    with subprocess.Popen(
        command("search", *options), cwd=workplace, env=environment(), stdout=subprocess.DEVNULL
    ) as search:
        while not (run / "supernet").exists() and search.poll() is None:
            time.sleep(0.05)
        time.sleep(1)
        search.kill()
    assert (run / "config.yaml").exists()
    done = call_here(workplace, "resume", str(run))
    assert done.returncode == 0, done.stdout + done.stderr
    return run, done.stdout


def test_candidates_are_scored_or_taught_as_the_ranking_says(taught):
    run, said = taught
    store = RunStore(run)
    facts = store.facts()["supernet"]
    assert len([each for each in facts["sample"].values() if each]) == 8
    assert -1 <= facts["kendall"] <= 1
    assert f"Kendall {facts['kendall']:.2f}" in said
    tuned = [each["fine_tuned"] is not None for each in facts["sample"].values() if each]
    assert tuned == [not facts["trusted"]] * 8
    assert ("tuned" in facts) != facts["trusted"]
    stage, other = ("score", "train") if facts["trusted"] else ("train", "score")
    done = [candidate for candidate in store.candidates() if candidate.state == "done"]
    assert done
    for candidate in done:
        assert stage in candidate.seconds
        assert other not in candidate.seconds
        assert ("inherited" in candidate.measurements["accuracy"].conditions) == facts["trusted"]
    assert store.students()


def test_a_later_search_uses_it_for_other_goals(taught, workplace):
    run, _ = taught
    options = ("--supernet", str(run), "--name", "again", "--objectives", "accuracy,size", "--trials", "1")
    done = call_here(workplace, "search", *OPTIONS, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Supernet taken from {run}" in done.stdout
    again = run.with_name("again")
    once, twice = (load_file(folder / "supernet" / "weights.safetensors") for folder in (run, again))
    assert all((once[name] == twice[name]).all() for name in once)
    facts = [json.loads((folder / "supernet" / "supernet.json").read_text()) for folder in (run, again)]
    assert facts[0]["sample"] == facts[1]["sample"]
    shown = call_here(workplace, "show", str(again))
    assert "inherited scores rank" in shown.stdout


def test_one_of_other_students_is_refused_before_a_teacher_is_there(taught, workplace):
    run, _ = taught
    done = call_here(workplace, "search", *OPTIONS, "--supernet", str(run), "--name", "other", "--space", "mobile")
    assert done.returncode != 0
    assert "was taught with another space" in done.stdout + done.stderr
    assert "teacher" not in done.stdout
    assert not run.with_name("other").exists()


def test_one_that_learnt_block_by_block_is_told_apart(taught, workplace):
    run, _ = taught
    blocks = run.with_name("blocks")
    shutil.copytree(run / "supernet", blocks / "supernet")
    file = blocks / "supernet" / "supernet.json"
    facts = json.loads(file.read_text())
    assert facts["origin"]["supervision"] == "outputs"
    facts["origin"]["supervision"] = "blocks"
    file.write_text(json.dumps(facts))
    done = call_here(workplace, "search", *OPTIONS, "--supernet", str(blocks), "--name", "other")
    assert done.returncode != 0
    assert "was taught with another supervision" in done.stdout + done.stderr


def test_blocks_are_refused_where_there_are_no_stages_before_anything_is_taught(workplace):
    options = (*QUICK, "--supernet", "train", "--supervision", "blocks", "--workers", "1", "--name", "none")
    done = call_here(workplace, "search", *options)
    assert done.returncode != 0
    assert "of which the space mlp has 0" in done.stdout + done.stderr
    assert not (workplace / "results" / "runs" / "none").exists()


def test_what_does_not_go_with_a_supernet_is_refused_at_once(workplace):
    for options, problem in (
        (("--quantise", "int8"), "leave out --supernet or --quantise"),
        (("--distill", "auto"), "--distill must name it"),
        (("--supernet", "results/runs/nowhere"), "has no trained supernet"),
        (("--supervision", "blocks"), "features of one teacher, and there are to be 0"),
        (("--supervision", "block"), "did you mean 'blocks'"),
    ):
        done = call_here(workplace, "search", *OPTIONS, "--supernet", "train", "--name", "none", *options)
        assert done.returncode != 0
        assert problem in done.stdout + done.stderr
        assert not (workplace / "results" / "runs" / "none").exists()
