"""A search for students of questions about pictures, from a folder to a bundle that answers some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from results.bundle.runner import Bundle, BundleProblem, normalise, print_predictions, stretch
from results.bundle.wordpiece import WordPiece
from results.store import RunStore
from tests.question_pictures import draw_questions
from tests.search.conftest import call_here

OPTIONS = (
    *("--data", "asked", "--image-size", "24", "--teacher", "none", "--distill", "hard-labels", "--workers", "1"),
    *("--trials", "1", "--epochs", "1", "--final-epochs", "2", "--max-latency", "1s"),
)


@pytest.fixture(scope="module")
def bundle(workplace: Path) -> Path:
    draw_questions(workplace / "asked", 24, side=32)
    done = call_here(workplace, "search", *OPTIONS, "--name", "asked")
    assert done.returncode == 0, done.stdout + done.stderr
    run = workplace / "results" / "runs" / "asked"
    done = call_here(workplace, "deploy", str(run), "--to", str(workplace / "asked-bundle"))
    assert done.returncode == 0, done.stdout + done.stderr
    return workplace / "asked-bundle"


def test_the_report_shows_questions_with_their_pictures(bundle: Path, workplace: Path) -> None:
    run = workplace / "results" / "runs" / "asked"
    (student,) = RunStore.open(run).students()
    assert {"test_accuracy", "latency", "size"} <= student.measurements.keys()
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Where the best student goes its own way" in page
    assert page.count('alt="the picture"') == 12
    assert "<th>question</th><th>right answer</th><th>student</th>" in page


def test_a_bundle_answers_as_its_twin_does(bundle: Path, workplace: Path) -> None:
    pictures = [workplace / "asked" / "images" / f"000{number}.png" for number in range(2)]
    asked = ["How many circles are there?", "Is there a red square?"]
    done = call_here(workplace, "predict", str(bundle), str(pictures[0]), *asked, str(pictures[1]), asked[0])
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        f"{pictures[0]}, {asked[0]}",
        f"{pictures[0]}, {asked[1]}",
        f"{pictures[1]}, {asked[0]}",
    ]
    loaded = Bundle(bundle)
    spec, labels = loaded.manifest["preprocess"], loaded.manifest["labels"]
    assert [each["name"] for each in loaded.manifest["inputs"]] == ["picture", "question"]
    pixels = np.asarray(Image.open(pictures[0]))
    tokens = WordPiece.read(bundle / "vocab.txt", spec["lowercase"]).encode(asked[0], spec["length"])
    twin = onnxruntime.InferenceSession(bundle / "student.onnx", providers=["CPUExecutionProvider"])
    inputs = {
        "picture": normalise(stretch(pixels, spec["size"]), spec["mean"], spec["std"]),
        "question": np.array([tokens], np.int64),
    }
    logits = twin.run(None, inputs)[0][0]
    np.testing.assert_allclose(loaded.logits(pictures[0], asked[0]), logits, atol=1e-4)
    assert loaded.predict(pixels, top=1, question=asked[0])[0][0] == labels[int(logits.argmax())]
    assert lines[0].partition(":  ")[2].startswith(labels[int(logits.argmax())])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["how many?"], "name an image first"),
        (["images/0000.png"], "no question about images/0000.png"),
        (["images/0000.png", "images/0001.png", "how many?"], "no question about images/0000.png"),
        (["nothing.png", "how many?"], "nothing.png cannot be read"),
        (["images/0000.png", "?" * 80], "ask a shorter one"),
        (["images/0000.png", " "], "give it words"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    bundle: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], said: str
) -> None:
    monkeypatch.chdir(workplace / "asked")
    with pytest.raises(BundleProblem, match=said):
        print_predictions(Bundle(bundle), given)


@pytest.mark.parametrize(
    "options",
    [
        ("--quantise", "int8"),
        ("--supernet", "train"),
        ("--assistant", "0.5"),
        ("--teacher", "builtin:seed=1"),
        ("--distill", "minilm"),
        ("--space", "mobile"),
        ("--augment", "standard"),
    ],
    ids=lambda options: options[0],
)
def test_what_makes_no_sense_is_refused_before_teaching(
    bundle: Path, workplace: Path, options: tuple[str, ...]
) -> None:
    given = ("--data", "asked", "--name", "refused", "--teacher", "builtin", *options)
    done = call_here(workplace, "search", *given)
    assert done.returncode == 1
    assert "teacher, trained here" not in done.stdout
    assert done.stderr.strip()


def test_students_of_questions_cannot_learn_later_data(bundle: Path, workplace: Path) -> None:
    done = call_here(workplace, "update", str(workplace / "results" / "runs" / "asked"), "--data", "asked")
    assert done.returncode == 1
    assert "answers questions about images" in done.stderr
    again = workplace / "with-program"
    run = str(workplace / "results" / "runs" / "asked")
    done = call_here(workplace, "deploy", run, "--runtime", "cpp", "--to", str(again))
    assert done.returncode == 1
    assert "takes images, not questions" in done.stderr
