"""From a table of sentences to a bundle that takes one, all but the search itself."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from evaluators.candidate import evaluate_candidate
from evaluators.finalist import finish_student
from evaluators.teachers import text as teachers
from results.bundle.runner import Bundle, BundleProblem, print_predictions
from results.bundle.write import write_bundle
from results.candidate import Candidate
from results.store import RunStore
from results.view import read_view
from search.config import SearchConfig
from search.display import Display
from search.finals import _inputs
from search.former import open_former
from search.preparation import prepare
from spaces.choice import Choice
from understudy import BundleError, RunError

GOOD = ("great", "warm", "funny", "lovely", "fine", "brilliant")
BAD = ("dull", "cold", "boring", "awful", "poor", "tedious")


def write_table(path: Path, count: int = 240) -> None:
    random = np.random.default_rng(0)
    lines = ["text\tlabel"]
    for number in range(count):
        label, words = (("good", GOOD), ("bad", BAD))[number % 2]
        said = random.choice(words, 2)
        lines.append(f"The film is {said[0]} and {said[1]}, number {number}!\t{label}")
    path.write_text("\n".join(lines))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunStore, Path]:
    """A run with one finished student, and its bundle."""
    folder = tmp_path_factory.mktemp("texts")
    write_table(folder / "films.tsv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(teachers, "LAYERS", 1)
        patch.setattr(teachers, "WIDTH", 32)
        config = SearchConfig(
            data="films.tsv", epochs=4, final_epochs=6, threads=1, runs=str(folder / "runs")
        ).anchored()
        store = RunStore.create(config.run_path)
        store.write_text("config.yaml", config.to_yaml())
        prepared = prepare(config, store, Display(Console(file=StringIO())))
        store.write_facts({**prepared.facts, "versions": {}})
        bench = prepared.plan.open()
        choice = Choice({**bench.space.smallest(), "embedding": 64, "resolution": bench.task.image_size})
        outcome = evaluate_candidate(bench, choice, 0)
        assert outcome.state == "done", outcome.reason
        key = bench.space.signature(choice)
        candidate = Candidate(0, choice, key, "done", measurements=outcome.measurements)
        student = finish_student(bench, candidate, store.path, compare_scratch=False)
        store.write_students([student])
        bundle = write_bundle(read_view(store), store.path, student, folder / "bundle")
        for target in bench.targets:
            target.close()
    return store, bundle


def test_the_kind_of_data_chooses_space_and_teacher(run: tuple[RunStore, Path]) -> None:
    facts = run[0].facts()
    assert (facts["space"], facts["teacher"]["name"]) == ("text", "builtin-bert")
    assert facts["teacher"]["accuracy"] > 0.9
    assert facts["teacher"]["latency"] is not None
    assert facts["task"]["labels"] == ["bad", "good"]
    assert facts["task"]["tokens"] == 16
    assert not {"channels", "image_size"} & facts["task"].keys(), "a report must not speak of images"


def test_the_student_learns_and_is_measured(run: tuple[RunStore, Path]) -> None:
    (student,) = run[0].students()
    assert student.measurements["test_accuracy"].value > 0.8
    assert {"latency", "size", "memory", "agreement"} <= student.measurements.keys()
    assert [each.dtype for each in _inputs(student)] == [np.int64]


def test_a_report_shows_where_student_and_teacher_differ(run: tuple[RunStore, Path]) -> None:
    from results.report import write_report

    store, _ = run
    (student,) = store.students()
    rows = json.loads((store.path / student.files["texts"]).read_text())
    sure = [
        [share if name == "good" else 1 - share for name, share in (row["student"], row["teacher"])]
        for row in rows
    ]
    gaps = [abs(ours - theirs) for ours, theirs in sure]
    assert len(gaps) == 12
    assert gaps == sorted(gaps, reverse=True)
    first = {**rows[0], "text": "<b>bold</b>"}
    (store.path / student.files["texts"]).write_text(json.dumps([first, *rows[1:]]))
    write_report(store)
    page = (store.path / "report.html").read_text()
    assert "&lt;b&gt;bold&lt;/b&gt;" in page
    assert "goes its own way" in page


def test_a_bundle_takes_sentences(run: tuple[RunStore, Path], capsys: pytest.CaptureFixture[str]) -> None:
    _, folder = run
    bundle = Bundle(folder)
    assert bundle.predict("What a GREAT, warm and funny film!")[0][0] == "good"
    assert bundle.predict("Dull and boring")[0][0] == "bad"
    shares = bundle.predict("great " * 500)
    assert sum(share for _, share in shares) == pytest.approx(1)
    (folder.parent / "several.txt").write_text("a lovely film\n\nan awful film\n", encoding="utf-8")
    print_predictions(bundle, [str(folder.parent / "several.txt"), "so tedious"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["a lovely film", "an awful film", "so tedious"]
    assert bundle.bench(0.1)["median_s"] > 0


def test_a_bundle_gives_the_logits_of_the_trained_network(run: tuple[RunStore, Path]) -> None:
    from safetensors.torch import load_file

    from evaluators.tasks.load import load_task
    from spaces.catalogue import load_space

    store, folder = run
    (student,) = store.students()
    task = load_task(str(folder.parent / "films.tsv"), cache=folder.parent / "again", seed=0)
    space = load_space("text", **task.sizes)
    network = space.build(Choice(student.choice)).eval()
    network.load_state_dict(load_file(store.path / student.files["weights"]))
    text = "A brilliant, TEDIOUS thing: number 7"
    ids = torch.tensor([task.tokenizer.encode(text, student.preprocess["length"])])  # type: ignore[attr-defined]
    with torch.no_grad():
        np.testing.assert_allclose(Bundle(folder).logits(text), network(ids)[0], rtol=1e-4, atol=1e-5)


def test_a_bundle_runs_with_nothing_of_ours(run: tuple[RunStore, Path]) -> None:
    code = "import sys; sys.path.insert(0, '.'); from run import Bundle; print(Bundle().predict('so funny')); "
    code += "print(sorted({'transformers', 'tokenizers', 'results'} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=run[1], capture_output=True, text=True, check=True, env={}
    )
    assert done.stdout.splitlines()[1] == "[]"
    manifest = json.loads((run[1] / "manifest.json").read_text())
    assert manifest["inputs"][0] | {"below": 0} == {
        "name": "input",
        "shape": [1, 16],
        "dtype": "int64",
        "below": 0,
    }
    assert {"vocab.txt", "wordpiece.py"} <= manifest["files"].keys()


@pytest.mark.parametrize("text", ["", "   ", "\x00"])
def test_texts_without_words_are_refused(run: tuple[RunStore, Path], text: str) -> None:
    with pytest.raises(BundleProblem, match="give it words"):
        Bundle(run[1]).predict(text)


def test_files_that_are_none_are_refused(run: tuple[RunStore, Path], tmp_path: Path) -> None:
    bundle = Bundle(run[1])
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "other.txt").write_bytes(b"caf\xe9")
    for name, said in (("none.txt", "cannot be read"), ("empty.txt", "holds no texts"), ("other.txt", "UTF-8")):
        with pytest.raises(BundleProblem, match=said):
            print_predictions(bundle, [str(tmp_path / name)])


def test_what_is_not_for_texts_is_refused(run: tuple[RunStore, Path], tmp_path: Path) -> None:
    store, _ = run
    (student,) = store.students()
    with pytest.raises(BundleError, match="takes images, not texts"):
        write_bundle(read_view(store), store.path, student, tmp_path / "bundle", with_program=True)
    config = SearchConfig(data="films.tsv", runs=str(store.path.parent), name=store.path.name)
    with pytest.raises(RunError, match="does not take images"):
        open_former(store, config, student.number, Display(Console(file=StringIO())))
