"""The three steps as a user takes them, in processes of their own: search, inspect, deploy."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from evaluators.compile.tune.database import Database, target_of
from hw_profiles.profile import load_profile
from results.bundle.runner import Bundle, preprocess
from results.frame import read_frame
from results.store import RunStore
from search.proposer import NUMBER
from search.sampler import trials_in_file
from tests.search.conftest import OPTIONS, TRIALS, call_here


@pytest.fixture(scope="session")
def bundle(finished) -> Path:
    folder = finished.parents[2] / "bundle"
    done = call_here(finished.parents[2], "deploy", str(finished), "--to", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


def test_a_tuned_bundle_runs_like_the_other(finished, bundle, tmp_path):
    folder = tmp_path / "tuned"
    done = call_here(tmp_path, "deploy", str(finished), "--to", str(folder), "--tune", "2")
    assert done.returncode == 0, done.stderr
    assert "before and after timed in turn" in " ".join(done.stdout.split())
    picture = finished.parents[2] / "shapes" / "down" / "3.png"
    np.testing.assert_allclose(Bundle(folder).logits(picture), Bundle(bundle).logits(picture), atol=1e-4)


def test_record_holds_every_candidate_with_its_outcome(finished):
    candidates = RunStore.open(finished).candidates()
    assert [candidate.number for candidate in candidates] == list(range(TRIALS))
    for candidate in candidates:
        assert candidate.state in ("done", "infeasible"), candidate.reason
        assert ("accuracy" in candidate.measurements) == (candidate.state == "done")
        assert candidate.measurements["latency"].repeats >= 3
        assert {"export", "tune", "lower", "link", "measure"} <= set(candidate.seconds)


def test_kernels_were_tuned_and_are_kept_for_other_runs(finished):
    profile = load_profile("x86-host")
    known = Database(finished.parents[2] / "kernels.sqlite").read(target_of(profile))
    assert any(not lap.fault for laps in known.values() for lap in laps.values())
    assert not list((finished / ".scratch").iterdir())


def test_frame_and_study_agree_with_the_record(finished):
    frame = read_frame(finished)
    trials = trials_in_file(finished / "study.log", ("accuracy", "latency"))
    assert list(frame["number"]) == list(range(TRIALS))
    assert sorted(trial.user_attrs[NUMBER] for trial in trials) == list(range(TRIALS))


def test_students_are_delivered_and_equal_under_onnxruntime(finished):
    students = RunStore.open(finished).students()
    assert 1 <= len(students) <= 2
    for student in students:
        assert all((finished / file).is_file() for file in student.files.values())
        assert {"accuracy", "test_accuracy", "agreement", "scratch_accuracy"} <= set(student.measurements)
        assert student.on_front or student.note


def test_report_and_pictures_are_there(finished):
    for name in ("report.html", "front.png", "front.svg", "config.yaml", "run.json"):
        assert (finished / name).stat().st_size > 100
    assert json.loads((finished / "run.json").read_text())["ended_by"] == "trials"


def test_show_prints_front_and_time(finished):
    text = call_here(finished.parents[2], "show", str(finished), "--all").stdout
    assert "latency" in text
    assert "train" in text


def test_bundle_predicts_as_its_onnx_twin(bundle, workplace):
    picture = workplace / "shapes" / "down" / "3.png"
    opened = Bundle(bundle)
    session = onnxruntime.InferenceSession(bundle / "student.onnx")
    x = preprocess(picture, opened.manifest["preprocess"])
    expected = session.run(None, {session.get_inputs()[0].name: x})[0][0]
    np.testing.assert_allclose(opened.logits(picture), expected, atol=1e-4)
    assert call_here(workplace, "predict", str(bundle), str(picture)).stdout.count("%") >= 1


def test_bench_measures_and_compares(bundle, workplace):
    text = call_here(workplace, "bench", str(bundle), "--against", "onnxruntime").stdout
    assert "ms a call" in text
    assert "ratio" in text


def test_bundle_runs_without_anything_of_ours(bundle):
    program = (
        "import sys, runpy\n"
        "banned = ('torch', 'ray', 'nni', 'optuna', 'search', 'evaluators', 'spaces', 'results')\n"
        "class Ban:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in banned: raise ImportError(name)\n"
        "sys.meta_path.insert(0, Ban())\n"
        "sys.argv = ['run.py', 'bench']\n"
        "runpy.run_path('run.py', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=bundle, capture_output=True, text=True, check=False)
    assert "ms a call" in done.stdout, done.stderr


def test_altered_bundle_is_refused(bundle, tmp_path):
    copy = shutil.copytree(bundle, tmp_path / "altered")
    with (copy / "student.so").open("ab") as library:
        library.write(b"x")
    done = call_here(tmp_path, "bench", str(copy))
    assert done.returncode == 1
    assert "student.so" in done.stderr


def test_existing_run_is_refused_and_left_alone(finished, workplace):
    before = (finished / "candidates.jsonl").read_bytes()
    done = call_here(workplace, "search", *OPTIONS, "--name", "finished")
    assert done.returncode == 1
    assert "understudy resume" in done.stderr
    assert (finished / "candidates.jsonl").read_bytes() == before


def test_budget_below_the_smallest_student_says_what_it_reaches(workplace):
    done = call_here(workplace, "search", *OPTIONS, "--max-latency", "1ns", "--name", "impossible")
    assert done.returncode == 1
    assert "below the smallest student" in done.stderr
    assert "it reaches" in done.stderr
    assert not (workplace / "results" / "runs" / "impossible").exists()
