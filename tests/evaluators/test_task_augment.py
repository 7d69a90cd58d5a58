"""Views are a function of (seed, view, sample) alone and the same picture at every resolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from evaluators.tasks.augment import POLICIES, Augment, augment_policy, uniform
from understudy import ConfigError

IDS = np.arange(16)


def smooth(resolution: int) -> torch.Tensor:
    """Sixteen gentle gradients."""
    axis = (torch.arange(resolution) + 0.5) / resolution
    waves = torch.stack([torch.sin(3 * axis[:, None] + k) * torch.cos(2 * axis[None, :] - k) for k in range(16)])
    return waves[:, None] / 2 + 0.5


def test_view_zero_is_the_clean_picture() -> None:
    images = torch.rand(16, 3, 8, 8)
    assert POLICIES["standard"].apply(images, IDS, 0, seed=1) is images
    assert POLICIES["none"].apply(images, IDS, 5, seed=1) is images
    assert Augment(flip=True).clean is False


def test_a_view_does_not_depend_on_the_batch() -> None:
    images = torch.rand(16, 3, 8, 8)
    whole = POLICIES["standard"].apply(images, IDS, 3, seed=1)
    part = POLICIES["standard"].apply(images[4:7], IDS[4:7], 3, seed=1)
    torch.testing.assert_close(part, whole[4:7])


@pytest.mark.parametrize("change", [{"view": 4}, {"seed": 2}])
def test_views_and_seeds_differ(change: dict[str, int]) -> None:
    images = torch.rand(16, 3, 8, 8)
    asked = {"view": 3, "seed": 1}
    one = POLICIES["standard"].apply(images, IDS, **asked)
    other = POLICIES["standard"].apply(images, IDS, **(asked | change))
    assert not torch.allclose(one, other)


def test_every_resolution_sees_the_same_picture() -> None:
    augment = Augment(flip=True, shift=0.1, rotate=10, scale=0.1)
    small = augment.apply(smooth(32), IDS, 2, seed=0)
    large = augment.apply(smooth(64), IDS, 2, seed=0)
    inner = (slice(None), slice(None), slice(8, -8), slice(8, -8))
    shrunk = functional.avg_pool2d(large, 2)
    torch.testing.assert_close(shrunk[inner], small[inner], atol=0.01, rtol=0)


def test_flip_alone_is_an_exact_mirror() -> None:
    images = torch.rand(16, 3, 8, 8)
    view = Augment(flip=True).apply(images, IDS, 1, seed=0)
    mirrored = [bool(torch.allclose(view[i], images[i].flip(-1), atol=1e-5)) for i in range(16)]
    kept = [bool(torch.allclose(view[i], images[i], atol=1e-5)) for i in range(16)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert 0 < sum(mirrored) < 16


def test_draws_are_uniform_and_uncorrelated() -> None:
    draws = uniform(0, 1, np.arange(20_000), 5)
    assert draws.min() >= 0
    assert draws.max() < 1
    np.testing.assert_allclose(draws.mean(0), 0.5, atol=0.01)
    np.testing.assert_allclose(np.corrcoef(draws.T), np.eye(5), atol=0.03)
    assert abs(np.corrcoef(draws[:, 0], uniform(0, 2, np.arange(20_000), 5)[:, 0])[0, 1]) < 0.03


def test_wrong_settings() -> None:
    with pytest.raises(ConfigError, match="did you mean 'standard'"):
        augment_policy("standart")
    with pytest.raises(ConfigError, match="an augmentation needs shift"):
        Augment(shift=1.5)
