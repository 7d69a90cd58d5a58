"""From a plain text to a bundle that goes on with one, all but the search itself."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from evaluators.candidate import evaluate_candidate
from evaluators.compile.tune.tuned import TuningRequest
from evaluators.finalist import finish_student
from evaluators.tasks.load import load_task
from evaluators.teachers import language as teachers
from results.bundle.continuation import Continuation
from results.bundle.runner import Bundle, BundleProblem, print_latency, print_predictions
from results.bundle.write import write_bundle
from results.candidate import Candidate
from results.report import write_report
from results.store import RunStore
from results.view import read_view
from search.config import SearchConfig
from search.deployment import tuned_student
from search.display import Display
from search.finals import _inputs
from search.former import open_former
from search.preparation import prepare
from spaces.catalogue import load_space
from spaces.choice import Choice
from spaces.decoder import Decoder
from spaces.language import decoder_of
from understudy import BundleError, CompileError, ConfigError, RunError

TEXT = "".join(f"The {['cat', 'dog', 'cow'][n % 3]} sat on mat {n % 10}, then it slept.\n" for n in range(300))
WINDOW = 16
QUIET_DISPLAY = Display(Console(file=StringIO()))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunStore, Path]:
    """A run with one finished student, and its bundle."""
    folder = tmp_path_factory.mktemp("prose")
    (folder / "mats.txt").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(teachers, "LAYERS", 1)
        patch.setattr(teachers, "WIDTH", 32)
        patch.setattr(teachers, "TOKENS", 25_000)
        given = {"epochs": 2, "final_epochs": 4, "threads": 1, "image_size": WINDOW, "max_first_token": "1s"}
        config = SearchConfig(data="mats.txt", runs=str(folder / "runs"), **given).anchored()
        store = RunStore.create(config.run_path)
        store.write_text("config.yaml", config.to_yaml())
        prepared = prepare(config, store, QUIET_DISPLAY)
        store.write_facts({**prepared.facts, "versions": {}})
        bench = prepared.plan.open()
        choice = bench.space.smallest()
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


def trained(run: tuple[RunStore, Path]) -> Decoder:
    from safetensors.torch import load_file

    store, folder = run
    (student,) = store.students()
    task = load_task(str(folder.parent / "mats.txt"), cache=folder.parent / "again", seed=0, image_size=WINDOW)
    network = load_space("language", **task.sizes).build(Choice(student.choice)).eval()
    network.load_state_dict(load_file(store.path / student.files["weights"]))
    decoder = decoder_of(network)
    assert decoder is not None
    return decoder


def test_the_kind_of_data_chooses_space_and_teacher(run: tuple[RunStore, Path]) -> None:
    facts = run[0].facts()
    assert (facts["space"], facts["teacher"]["name"], facts["task"]["metric"]) == (
        "language",
        "builtin-gpt",
        "perplexity",
    )
    assert facts["teacher"]["latency"] is not None
    assert facts["task"]["window"] == WINDOW
    assert facts["task"]["labels"] == []


def test_the_student_is_measured_by_token_and_to_the_first(run: tuple[RunStore, Path]) -> None:
    (student,) = run[0].students()
    assert {"latency", "first_token", "size", "memory", "agreement"} <= student.measurements.keys()
    size = (run[0].path / student.files["library"]).stat().st_size
    weights = 4 * sum(each.numel() for each in trained(run).parameters())
    assert weights < student.measurements["size"].value == size < weights + 130_000, "both programs read them"
    assert weights < student.measurements["memory"].value < weights + 130_000
    twins = [run[0].path / student.files[name] for name in ("onnx", "prefill_onnx", "onnx_weights")]
    assert sum(file.stat().st_size for file in twins) < 1.2 * weights + 60_000
    assert [each.shape for each in _inputs(student)] == [(1,), (1,), (1, 2, 2, WINDOW, 32)]


def test_people_read_perplexities_and_how_both_go_on(run: tuple[RunStore, Path]) -> None:
    store, _ = run
    view = read_view(store)
    (student,) = view.students
    accuracy = student.measurements["test_accuracy"]
    assert str(accuracy) == f"perplexity {1 / accuracy.value:.4g}"
    assert view.teacher is not None
    assert str(view.teacher.accuracy).startswith("perplexity ")
    rows = json.loads((store.path / student.files["continuations"]).read_text())
    assert len(rows) == 6
    assert all(row["prompt"] + row["text"] in TEXT and row["student"] and row["teacher"] for row in rows)
    write_report(store)
    page = (store.path / "report.html").read_text()
    assert "<br>" in page, "lines stay lines"
    for said in ("How the best student goes on", "1 / perplexity (%, validation)", "bits a byte", "first token"):
        assert said in page, said


def test_a_bundle_goes_on_as_the_trained_network_would(run: tuple[RunStore, Path]) -> None:
    bundle, decoder = Bundle(run[1]), trained(run)
    prompt = "The cat sat on mat 3, then"
    tokens = bundle._pieces.encode(prompt)
    assert len(tokens) < WINDOW
    expected, seen = [], list(tokens)
    for _ in range(3 * WINDOW):  # past the window, which begins anew with its latest half
        with torch.no_grad():
            expected.append(int(decoder(torch.tensor([seen]))[0, -1].argmax()))
        seen.append(expected[-1])
        if len(seen) > WINDOW:
            seen = seen[-(WINDOW // 2) :]
    for few in (0, WINDOW):  # the prompt at once, or token by token
        bundle._continuation._few = few
        assert list(bundle._continuation.go_on(tokens, len(expected), 0.0, 0, None)) == expected
    assert "".join(bundle.generate(prompt, len(expected), 0.0)) == bundle._pieces.text(expected)


def test_what_is_drawn_follows_from_the_seed(run: tuple[RunStore, Path]) -> None:
    bundle = Bundle(run[1])
    said = ["".join(bundle.generate("The dog", 30, 1.0, seed)) for seed in (1, 1, 2)]
    assert said[0] == said[1] != said[2]
    long = "".join(bundle.generate(TEXT, 5, 0.0))
    assert long == "".join(bundle.generate(TEXT[200:], 5, 0.0)), "of a long text the end is read"


def test_a_text_ends_where_it_ends() -> None:
    def step(token: np.ndarray, place: np.ndarray, cache: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.eye(5, dtype=np.float32)[(token + 1) % 5], np.zeros((1, 2, 1, 1), np.float32)

    continuation = Continuation(step, step, np.zeros((1, 2, 1, 8, 1), np.float32), 8)
    assert list(continuation.go_on([0], 10, 0.0, 0, 4)) == [1, 2, 3]


def test_texts_stream_to_the_terminal(
    run: tuple[RunStore, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle(run[1])
    (run[1].parent / "begin.txt").write_text("The cow sat", encoding="utf-8")
    print_predictions(bundle, [str(run[1].parent / "begin.txt"), "The cat"], how={"tokens": 4, "temperature": 0.0})
    said = capsys.readouterr().out
    assert said.startswith("The cow sat")
    assert "\nThe cat" in said
    monkeypatch.setattr(bundle, "bench", partial(bundle.bench, 0.05))
    monkeypatch.setattr(bundle, "first_token", partial(bundle.first_token, 0.05))
    print_latency(bundle)
    said = capsys.readouterr().out
    assert said.count("here:") == said.count("manifest:") == 2
    for how, wrong in (({"tokens": 0}, "tokens must be"), ({"temperature": -1.0}, "temperature")):
        with pytest.raises(BundleProblem, match=wrong):
            print_predictions(bundle, ["The"], how=how)
    with pytest.raises(BundleProblem, match="the prompt is empty"):
        print_predictions(bundle, [""])


def test_a_bundle_runs_with_nothing_of_ours(run: tuple[RunStore, Path]) -> None:
    code = "import sys; sys.path.insert(0, '.'); from run import Bundle; "
    code += "print(len(list(Bundle().generate('The', 20)))); "
    code += "print(sorted({'transformers', 'tokenizers', 'results'} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=run[1], capture_output=True, text=True, check=True, env={}
    )
    assert done.stdout.splitlines()[1] == "[]"
    manifest = json.loads((run[1] / "manifest.json").read_text())
    assert [each["name"] for each in manifest["inputs"]] == ["token", "position", "cache"]
    assert [each["shape"] for each in manifest["outputs"]][1] == [1, 2, 2, 32]
    assert manifest["preprocess"]["window"] == WINDOW
    for name in ("latency", "first_token"):
        assert f"{WINDOW} tokens in sight" in manifest["figures"][name]["how"]
    needed = {"bytepair.json", "bytepair.py", "continuation.py", "student.so", "prefill.onnx", "student.onnx.data"}
    assert needed <= manifest["files"].keys()
    assert "prefill.so" not in manifest["files"]


def test_what_is_not_for_running_text_is_refused(run: tuple[RunStore, Path], tmp_path: Path) -> None:
    store, _ = run
    (student,) = store.students()
    with pytest.raises(BundleError, match="takes images, not language"):
        write_bundle(read_view(store), store.path, student, tmp_path / "bundle", with_program=True)
    given = {"data": str(run[1].parent / "mats.txt"), "runs": str(tmp_path / "runs"), "image_size": WINDOW}
    with pytest.raises(RunError, match="does not take images"):
        open_former(store, SearchConfig(**{**given, "runs": str(store.path.parent)}), 0, QUIET_DISPLAY)
    with pytest.raises(CompileError, match="leave out --tune"):
        tuned_student(
            read_view(store), store.path, student, tmp_path / "tuned.so", TuningRequest(1.0), QUIET_DISPLAY
        )
    for option, said in (
        ({"quantise": "int8", "epochs": 2}, "--quantise int8 is not for running text"),
        ({"supernet": "train"}, "--supernet is not for"),
        ({"assistant": "0.5"}, "--assistant is not for"),
        ({"distill": "hints"}, "not for answers to each place"),
    ):
        config = SearchConfig(**given, **option)
        other = RunStore.create(config.run_path)
        with pytest.raises(ConfigError, match=said):
            prepare(config, other, QUIET_DISPLAY)
        other.path.rename(tmp_path / said.split()[0])
