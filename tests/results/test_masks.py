from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from results.bundle.masks import VOID, colours, mask_of, overlay, shares, write_pictures
from results.bundle.runner import stretch


@pytest.mark.parametrize("size", [(24, 24), (31, 50), (7, 5)])
def test_answers_are_scaled_as_torch_scales_them_before_they_are_compared(size):
    logits = np.random.default_rng(0).standard_normal((4, 8, 8)).astype(np.float32)
    scaled = functional.interpolate(torch.from_numpy(logits)[None], size, mode="bilinear")[0]
    assert (mask_of(logits, *size) == scaled.argmax(0).numpy()).all()


def test_a_picture_is_scaled_by_each_side_of_its_own():
    picture = np.random.default_rng(0).integers(0, 256, (40, 23, 3), np.uint8)
    pillow = np.asarray(Image.fromarray(picture).resize((16, 16), Image.Resampling.BILINEAR))
    assert np.abs(stretch(picture, 16).astype(int) - pillow).max() <= 1


def test_colours_tell_classes_apart_and_leave_what_is_unknown_clear():
    mask = np.array([[0, 1], [2, VOID]], np.uint8)
    assert len(np.unique(colours(np.arange(256, dtype=np.uint8)[None])[0], axis=0)) == 256
    grey = np.full((2, 2, 1), 100, np.uint8)
    shown = overlay(grey, mask)
    assert (shown[0, 0] == 100).all()
    assert (shown[1, 1] == 100).all()
    assert (shown[0, 1] == [114, 50, 50]).all()
    assert shares(np.array([[0, 1], [1, 1]], np.uint8), ["sky", "tree", "road"]) == [("tree", 0.75), ("sky", 0.25)]


def test_masks_are_written_as_numbers_and_as_colours(tmp_path):
    mask = np.array([[0, 1], [2, 1]], np.uint8)
    numbers, coloured = write_pictures("photos/cat.jpg", np.zeros((2, 2, 3), np.uint8), mask, tmp_path / "out")
    assert numbers.name == "cat.mask.png"
    assert (np.asarray(Image.open(numbers)) == mask).all()
    assert np.asarray(Image.open(coloured)).shape == (2, 2, 3)
