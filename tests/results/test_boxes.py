from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from evaluators.tasks.box_targets import corners_of as corners_in_torch
from evaluators.tasks.box_targets import overlap
from results.bundle.boxes import BESIDE, REACH, boxes_of, corners_of, described, overlaps, places, write_boxes

SIDES = (8, 4)
PLACES = 8 * 8 + 4 * 4


def answers(*boxes: tuple[int, int, int, float]) -> np.ndarray:
    """Answers on two maps, with boxes of half a picture's sides at rows and columns of the fine one, by class."""
    made = np.zeros((1 + 2 + BESIDE, PLACES, 1), np.float32)
    made[0] = 5
    made[3:7, :, 0] = np.log(0.25 / REACH / places(SIDES)[2])
    made[7] = 4
    for row, column, label, logit in boxes:
        made[1 + label, 8 * row + column] = logit
    return made


def test_boxes_are_decoded_best_first_and_of_like_ones_one_stays():
    found = boxes_of(answers((2, 2, 0, 8.0), (2, 3, 0, 7.0), (6, 6, 1, 9.0), (3, 2, 1, 7.0)), SIDES)
    assert found[:, 0].tolist() == [1, 0, 1]
    assert found[0, 2:] == pytest.approx([6.5 / 8 - 0.25, 6.5 / 8 - 0.25, 1, 1])
    assert (np.diff(found[:, 1]) <= 0).all()
    assert len(boxes_of(answers(), SIDES)) == 0


def test_a_coarse_map_tells_of_the_same_picture_and_bad_boxes_count_less():
    made = answers((2, 2, 0, 8.0))
    made[1, 64 + 4 * 3 + 3] = 9.0
    first, second = boxes_of(made, SIDES)
    assert first[2:] == pytest.approx([3.5 / 4 - 0.25, 3.5 / 4 - 0.25, 1, 1])
    made[-1, 64 + 4 * 3 + 3] = -1
    assert (boxes_of(made, SIDES)[0, 2:] == second[2:]).all()


def test_runner_and_training_have_one_arithmetic():
    distances = np.random.default_rng(0).normal(0, 1, (4, PLACES)).astype(np.float32)
    ours = corners_of(distances, SIDES)
    theirs = corners_in_torch(torch.from_numpy(distances)[None], SIDES)[0].numpy()
    assert np.abs(ours - theirs).max() < 1e-6


def test_overlap_counts_what_two_boxes_share():
    box = np.array([0, 0, 0.5, 0.5], np.float32)
    others = np.array([[0, 0, 0.5, 0.5], [0.25, 0, 0.75, 0.5], [0.5, 0.5, 1, 1]], np.float32)
    assert overlaps(box, others) == pytest.approx([1, 1 / 3, 0])
    shared, generalised = overlap(*(torch.from_numpy(each)[None, :, None] for each in (box, others[2])))
    assert float(shared) == 0
    assert float(generalised) == pytest.approx(0 - (1 - 0.5) / 1)


def test_boxes_are_written_in_pixels_and_drawn(tmp_path):
    boxes = boxes_of(answers((3, 3, 1, 9.0)), SIDES)
    (told,) = described(boxes, ["cat", "dog"], 80, 160)
    assert told["label"] == "dog"
    assert told["box"] == pytest.approx([160 * 0.1875, 80 * 0.1875, 160 * 0.6875, 80 * 0.6875])
    file, picture = write_boxes("a/b.jpg", np.zeros((80, 160, 1), np.uint8), boxes, ["cat", "dog"], tmp_path)
    assert json.loads(file.read_text()) == [told]
    assert np.asarray(Image.open(picture)).any()
