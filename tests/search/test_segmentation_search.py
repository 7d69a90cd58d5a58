"""A search for students of segmentation, from a folder of images and masks to a bundle that makes masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from evaluators.tasks.load import load_task
from results.bundle.masks import mask_of
from results.bundle.runner import normalise, read_manifest, stretch
from results.store import RunStore
from tests.mask_pictures import draw
from tests.search.conftest import call_here

TEACHER = """
import torch
from torch import nn

def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 3, 3, 2, 1))
"""


@pytest.fixture(scope="module")
def run(workplace) -> Path:
    draw(workplace / "masked", 16)
    (workplace / "maps.py").write_text(TEACHER)
    options = (
        *("--data", "masked", "--image-size", "32", "--teacher", "maps.py:small", "--distill", "channel-wise"),
        *("--trials", "1", "--workers", "1", "--epochs", "1", "--final-epochs", "2", "--name", "masks"),
    )
    done = call_here(workplace, "search", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return workplace / "results" / "runs" / "masks"


def test_a_bundle_makes_the_masks_of_its_onnx_twin(run, workplace):
    (student,) = RunStore.open(run).students()
    assert {"test_accuracy", "agreement", "latency", "size"} <= student.measurements.keys()
    assert (run / student.files["examples"]).is_file()
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "mIoU on the test split" in page
    assert "What the best student sees" in page

    bundle = workplace / "mask-bundle"
    assert call_here(workplace, "deploy", str(run), "--to", str(bundle)).returncode == 0
    picture = workplace / "masked" / "images" / "0.png"
    done = call_here(workplace, "predict", str(bundle), str(picture), "--to", "out")
    assert done.returncode == 0, done.stderr
    assert " %" in done.stdout
    mask = np.asarray(Image.open(workplace / "out" / "0.mask.png"))
    spec = read_manifest(bundle)["preprocess"]
    pixels = np.asarray(Image.open(picture))
    inputs = normalise(stretch(pixels, spec["size"]), spec["mean"], spec["std"])
    twin = onnxruntime.InferenceSession(bundle / "student.onnx", providers=["CPUExecutionProvider"])
    expected = mask_of(twin.run(None, {"input": inputs})[0][0], *pixels.shape[:2])
    assert mask.shape == pixels.shape[:2]
    assert (mask == expected).mean() > 0.999


def test_students_of_integers_make_masks(run, workplace):
    options = (
        *("--data", "masked", "--image-size", "32", "--teacher", "maps.py:small", "--quantise", "int8"),
        *("--trials", "1", "--workers", "1", "--epochs", "2", "--final-epochs", "2", "--name", "whole-masks"),
    )
    done = call_here(workplace, "search", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    store = RunStore.open(workplace / "results" / "runs" / "whole-masks")
    (student,) = store.students()
    assert student.quantised["in_float"] == []
    assert student.quantised["agreement"] > 0.95
    assert {"float_latency", "float_size"} <= student.measurements.keys()
    assert "in integers" in (store.path / "report.html").read_text(encoding="utf-8")

    bundle = workplace / "whole-mask-bundle"
    assert call_here(workplace, "deploy", str(store.path), "--to", str(bundle)).returncode == 0
    manifest = read_manifest(bundle)
    assert manifest["quantised"] == student.quantised
    twin = onnxruntime.InferenceSession(bundle / "student.onnx", providers=["CPUExecutionProvider"])
    task = load_task(str(workplace / "masked"), cache=workplace / "again", seed=0, image_size=32)
    pictures = task.batch("test", np.arange(task.size("test")), manifest["preprocess"]["size"])
    answers = np.concatenate([twin.run(None, {"input": picture[None]})[0] for picture in pictures.numpy()])
    scored = student.measurements["test_accuracy"].value
    assert task.score(answers, task.targets("test")) == pytest.approx(scored, abs=0.02)


def test_what_does_not_go_with_masks_is_refused(run, workplace):
    for options, problem in (
        (("--supernet", "train"), "--supernet is not for masks yet"),
        (("--quantise", "int8-weights"), "--quantise int8-weights is not for masks yet"),
        (("--distill", "hints"), "is not for answers to each place (masks)"),
    ):
        done = call_here(
            workplace, "search", "--data", "masked", "--teacher", "maps.py:small", "--name", "no", *options
        )
        assert done.returncode != 0
        assert problem in done.stdout + done.stderr
    refused = call_here(workplace, "update", str(run), "--data", "masked")
    assert "only students that classify images can learn later data" in refused.stdout + refused.stderr
