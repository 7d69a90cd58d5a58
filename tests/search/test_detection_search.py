"""A search for students of detection, from pictures with boxes to a bundle that finds some."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
from PIL import Image

from results.bundle.boxes import boxes_of, described
from results.bundle.runner import normalise, read_manifest, stretch
from results.store import RunStore
from tests.mask_pictures import draw_boxes
from tests.search.conftest import call_here


def test_a_bundle_finds_the_boxes_of_its_onnx_twin(workplace):
    draw_boxes(workplace / "boxed", 16)
    options = (
        *(
            "--data",
            "boxed",
            "--image-size",
            "32",
            "--teacher",
            "none",
            "--distill",
            "hard-labels",
            "--workers",
            "1",
        ),
        *("--trials", "1", "--epochs", "1", "--final-epochs", "8", "--name", "boxes"),
    )
    done = call_here(workplace, "search", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    run = workplace / "results" / "runs" / "boxes"
    (student,) = RunStore.open(run).students()
    assert {"test_accuracy", "latency", "size"} <= student.measurements.keys()
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "mAP on the test split" in page
    assert "What the best student sees" in page

    bundle, picture = workplace / "box-bundle", workplace / "boxed" / "images" / "0.png"
    assert call_here(workplace, "deploy", str(run), "--to", str(bundle)).returncode == 0
    done = call_here(workplace, "predict", str(bundle), str(picture), "--to", "found")
    assert done.returncode == 0, done.stderr
    told = json.loads((workplace / "found" / "0.boxes.json").read_text())
    manifest, pixels = read_manifest(bundle), np.asarray(Image.open(picture))
    spec = manifest["preprocess"]
    assert manifest["figures"]["test_accuracy"]["how"] == "mAP on the test split, after full training"
    inputs = normalise(stretch(pixels, spec["size"]), spec["mean"], spec["std"])
    twin = onnxruntime.InferenceSession(bundle / "student.onnx", providers=["CPUExecutionProvider"])
    answers = twin.run(None, {"input": inputs})[0]
    assert list(answers.shape) == manifest["outputs"][0]["shape"]
    expected = described(boxes_of(answers[0], tuple(spec["grid"])), manifest["labels"], *pixels.shape[:2])
    assert len(told) == len(expected)
    for ours, theirs in zip(told, expected, strict=True):
        assert ours["label"] == theirs["label"]
        assert np.abs(np.subtract(ours["box"], theirs["box"])).max() < 0.2
