"""A student learns later data from the command line: versions, roll-back, refusals, a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import load_file

from evaluators.distill.methods.response import HardLabels
from evaluators.distill.schedule import Schedule
from evaluators.distill.teacher_outputs import compute_outputs
from evaluators.finalist import finish_student
from evaluators.teachers.teacher import ModuleTeacher, Normalised
from results.candidate import Candidate
from results.store import RunStore
from results.updates import Versions
from search.cli.main import group
from search.config import load_config
from search.display import Display, make_console
from search.preparation import plan_of
from tests.search.conftest import command, environment

STRIPES = {"across": (4, 1), "down": (1, 4), "plain": (1, 1), "checks": (4, 4)}


def call(place: Path, *arguments: str) -> Result:
    """A command in this process, in a folder: an error of the user's is the result's exception."""
    before, threads = Path.cwd(), torch.get_num_threads()
    os.chdir(place)
    torch.set_num_threads(1)
    try:
        return CliRunner().invoke(group, arguments)
    finally:
        os.chdir(before)
        torch.set_num_threads(threads)


def draw(folder: Path, label: str, count: int, grey: bool = True, seed: int = 0) -> None:
    random, stripes = np.random.default_rng([seed, len(label)]), STRIPES[label]
    (folder / label).mkdir(parents=True)
    for number in range(count):
        pattern = np.kron(np.indices((16 // stripes[0], 16 // stripes[1])).sum(0) % 2, np.ones(stripes))
        noisy = (60 + 120 * pattern + random.normal(0, 20, (16, 16))).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy, "L").convert("L" if grey else "RGB").save(folder / label / f"{number}.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a run that has one student of two classes, as a search leaves it, and later data."""
    place = tmp_path_factory.mktemp("update")
    for label in ("across", "down"):
        draw(place / "shapes", label, 40)
        draw(place / "same", label, 24, seed=1)
    draw(place / "later", "checks", 40)
    store = RunStore.create(place / "runs" / "shapes")
    settings = {"data": str(place / "shapes"), "runs": str(place / "runs"), "name": "shapes", "threads": 1}
    store.write_text("config.yaml", yaml.safe_dump({**settings, "max_latency": "50ms"}))
    config = load_config(store.path / "config.yaml", {})
    plan, task = plan_of(config, store, Display(make_console()))
    space, profile = plan.space(), asdict(plan.profiles[0])
    teacher = ModuleTeacher(
        Normalised(space.build(space.smallest()), task.mean, task.std),
        name="untaught",
        classes=2,
        channels=1,
        resolution=task.image_size,
        fingerprint="untaught",
    )
    outputs = compute_outputs(teacher, task, views=0, cache=place / "runs" / ".cache")
    bench = replace(plan, outputs=outputs.folder).open()
    bench = replace(
        bench, distiller=HardLabels(), final_schedule=Schedule(12, batch_size=8, learning_rate=0.1, views=0)
    )
    candidate = Candidate(3, dict(space.smallest()), "key", "done")
    store.write_students([finish_student(bench, candidate, store.path, False)])
    facts = {"labels": list(task.labels), "channels": 1, "image_size": task.image_size}
    goal = {"profile": profile, "budget": {"latency": 0.05}, "objectives": ["accuracy", "latency"]}
    store.write_facts({"task": facts, "origin": {"data": task.fingerprint}, **goal})
    return place


def test_new_class_is_learnt_delivered_and_rolled_back(place):
    done = call(place, "update", "runs/shapes", "--data", "later", "--epochs", "20", "--to", "bundle")
    assert done.exit_code == 0, done.output + repr(done.exception)
    assert "the new data have nothing of 2 of the 2 classes" in done.output
    versions = Versions(place / "runs" / "shapes")
    (version,) = versions.all()
    assert version.labels == ("across", "down", "checks")
    assert version.kept["earlier_before"] >= 0.9
    assert version.kept["earlier_after"] >= 0.8
    assert (version.kept["later_before"], version.kept["later_after"] >= 0.8) == (0, True)
    assert version.drift["distance"] is None
    assert set(version.student.measurements) >= {"accuracy", "test_accuracy", "latency", "size", "memory"}
    assert json.loads((place / "bundle" / "manifest.json").read_text())["labels"] == list(version.labels)
    said = call(place, "predict", "bundle", "later/checks/0.png")
    assert "checks" in said.output.splitlines()[0], said.output

    again = call(place, "update", "runs/shapes", "--data", "same", "--epochs", "2")
    assert again.exit_code == 0, again.output + repr(again.exception)
    second = versions.current(3)
    assert (second.number, second.parent, second.labels) == (2, 1, version.labels)
    assert second.drift["distance"] is not None
    assert "version 2" in call(place, "show", "runs/shapes").output

    for text in ("version 1", "the search's own student"):
        assert text in call(place, "update", "runs/shapes", "--roll-back").output
    none = call(place, "update", "runs/shapes", "--roll-back")
    assert "there is nothing to roll back" in str(none.exception)
    assert call(place, "deploy", "runs/shapes", "--to", "old").exit_code == 0
    assert json.loads((place / "old" / "manifest.json").read_text())["labels"] == ["across", "down"]


def test_the_student_of_a_bundle_learns_a_new_class_where_its_run_is_not_at_hand(place, tmp_path):
    deployed = call(place, "deploy", "runs/shapes", "--updatable", "--to", str(tmp_path / "old"))
    assert deployed.exit_code == 0, deployed.output + repr(deployed.exception)
    (place / "shapes").rename(place / "away")
    done = call(tmp_path, "update", "old", "--data", str(place / "later"), "--epochs", "20", "--to", "new")
    (place / "away").rename(place / "shapes")
    assert done.exit_code == 0, done.output + repr(done.exception)
    assert "the earlier data are not at hand" in done.output
    assert json.loads((tmp_path / "new" / "manifest.json").read_text())["labels"] == ["across", "down", "checks"]
    (learnt,) = json.loads((tmp_path / "new" / "origin.json").read_text())["facts"]["learnt"]
    assert learnt["replayed"] > 0
    assert learnt["kept"]["later_after"] >= 0.8
    said = call(
        tmp_path,
        "predict",
        "new",
        str(place / "later" / "checks" / "0.png"),
        str(place / "same" / "down" / "0.png"),
    )
    assert ["checks" in line or "down" in line for line in said.output.splitlines()[:2]] == [True, True], (
        said.output
    )
    again = call(tmp_path, "update", "new", "--roll-back")
    assert "stays as it is" in str(again.output)
    assert call(place, "deploy", "runs/shapes", "--to", str(tmp_path / "plain")).exit_code == 0
    plain = call(tmp_path, "update", "plain", "--data", "new", "--to", "none")
    assert "cannot be updated, for it holds no weights.safetensors and no config.yaml" in str(plain.exception)


def test_an_update_over_the_budget_is_refused_and_the_old_student_stays(place):
    store = RunStore.open(place / "runs" / "shapes")
    facts = store.facts()
    store.write_facts({**facts, "budget": {"latency": 1e-9}})
    done = call(place, "update", "runs/shapes", "--data", "same", "--epochs", "1")
    store.write_facts(facts)
    assert "would not keep the run's budget after the update: out of the budget" in str(done.exception)
    assert "over the limit of 1 ns" in str(done.exception)
    assert Versions(store.path).current(3) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: (data / "empty").mkdir(), "holds no images"),
        (
            lambda data: (data / "checks").rename(data / "Across"),
            "'Across' of the new data is written as 'across'",
        ),
        (lambda data: (data / "checks").rename(data / "7"), "classes of the new data are numbers (7)"),
    ],
)
def test_data_that_do_not_fit_are_refused(place, tmp_path, change, message):
    draw(tmp_path / "data", "checks", 6)
    change(tmp_path / "data")
    done = call(place, "update", "runs/shapes", "--data", str(tmp_path / "data"))
    assert message in str(done.exception)


def test_colour_for_a_grey_student_is_refused(place, tmp_path):
    draw(tmp_path / "data", "checks", 6, grey=False)
    done = call(place, "update", "runs/shapes", "--data", str(tmp_path / "data"))
    assert "in colour, but the student takes grey ones" in str(done.exception)


def test_a_kill_leaves_the_versions_as_they_were(place):
    run = place / "runs" / "shapes"
    weights = load_file(run / "students" / "3" / "weights.safetensors")
    index = (run / "versions" / "index.json").read_bytes() if (run / "versions" / "index.json").exists() else b""
    process = subprocess.Popen(
        command("update", "runs/shapes", "--data", "later", "--epochs", "4000"), cwd=place, env=environment()
    )
    end = time.monotonic() + 120
    while not list(run.glob("versions/.draft-*")) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(run.glob("versions/.draft-*"))
    after = (run / "versions" / "index.json").read_bytes() if (run / "versions" / "index.json").exists() else b""
    assert after == index
    now = load_file(run / "students" / "3" / "weights.safetensors")
    assert all((now[name] == weights[name]).all() for name in weights)
    done = call(place, "update", "runs/shapes", "--data", "same", "--epochs", "1")
    assert done.exit_code == 0, done.output + repr(done.exception)
    assert not list(run.glob("versions/.draft-*"))
