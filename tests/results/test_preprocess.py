"""From a file to an input: the same arithmetic for training and for the device."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from results.bundle.runner import BundleProblem, decode_image, normalise, preprocess, resize


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


@settings(max_examples=40, deadline=None)
@given(side=st.integers(1, 90), size=st.integers(1, 90), seed=st.integers(0, 9))
def test_resize_is_torch_s_antialiased_bilinear(side, size, seed):
    image = picture(side, side, seed=seed)
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    exact = torch.nn.functional.interpolate(
        planes, (size, size), mode="bilinear", antialias=True, align_corners=False
    )
    difference = np.abs(resize(image, size) - exact[0].permute(1, 2, 0).numpy())
    assert difference.max() <= 0.51


@pytest.mark.parametrize(("size", "target"), [((48, 64), 32), ((100, 30), 64), ((32, 32), 32)])
def test_resize_is_pillow_s_bilinear_of_the_centre_square(size, target):
    image = picture(*size)
    side, (height, width) = min(size), size
    box = ((width - side) // 2, (height - side) // 2, (width - side) // 2 + side, (height - side) // 2 + side)
    expected = np.asarray(Image.fromarray(image).crop(box).resize((target, target), Image.Resampling.BILINEAR))
    assert np.abs(resize(image, target).astype(int) - expected).max() <= 1


def test_normalise_scales_centres_and_turns_to_planes():
    image = picture(4, 4)
    result = normalise(image, [0.1, 0.2, 0.3], [0.5, 0.25, 1.0])
    assert result.shape == (1, 3, 4, 4)
    assert result.dtype == np.float32
    assert result[0, 1, 2, 3] == pytest.approx((image[2, 3, 1] / 255 - 0.2) / 0.25, rel=1e-5)


def test_preprocess_is_the_same_for_a_file_and_its_array(tmp_path):
    spec = {"channels": 3, "size": 16, "mean": [0.5] * 3, "std": [0.25] * 3}
    image = picture(40, 30)
    Image.fromarray(image).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", image)
    expected = preprocess(image, spec)
    assert np.array_equal(preprocess(tmp_path / "a.png", spec), expected)
    assert np.array_equal(preprocess(tmp_path / "a.npy", spec), expected)


def test_decode_turns_upright_and_to_the_channels_asked_for():
    image = Image.fromarray(picture(10, 20))
    exif = image.getexif()
    exif[0x0112] = 6  # lies on its side
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    assert decode_image(file, 3).shape == (20, 10, 3)
    assert decode_image(file, 1).shape == (20, 10, 1)


def test_decode_scales_16_bits_to_8():
    file = io.BytesIO()
    Image.fromarray(np.full((4, 4), 0x8000, np.uint16)).save(file, "PNG")
    assert (decode_image(file, 1) == 0x80).all()
    assert (decode_image(file, 3) == 0x80).all()


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.png", b"no image", "cannot be read"),
        ("a.npy", b"no array", "cannot be read"),
        ("absent.png", None, "cannot be read"),
    ],
)
def test_what_is_no_image_is_refused(tmp_path, name, content, problem):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BundleProblem, match=problem):
        decode_image(tmp_path / name, 3)


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 2), np.uint8), np.zeros(4, np.uint8)]
)
def test_arrays_of_another_kind_are_refused(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(BundleProblem, match="must hold a uint8 image of 3 channels"):
        decode_image(tmp_path / "a.npy", 3)


def test_arrays_that_would_run_code_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(BundleProblem, match="cannot be read"):
        decode_image(tmp_path / "a.npy", 3)
