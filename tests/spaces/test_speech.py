"""Log-mel features within a network: the figures of others, and nothing to learn."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch

from spaces.catalogue import load_space
from spaces.log_mel import CENTRE, FLOOR, SPREAD, LogMel, window_of
from spaces.space import VECTOR, random_choice
from spaces.speech import SpeechSpace
from spaces.supernet import Supernet
from understudy import SpaceError

RATE, SAMPLES = 4000, 1600


def speech() -> SpeechSpace:
    return load_space("speech", channels=SAMPLES, image_size=VECTOR, classes=3, sample_rate=RATE)


@pytest.mark.parametrize(("rate", "bands", "overlap"), [(8000, 40, 50), (16_000, 20, 25), (12_000, 32, 0)])
def test_features_are_those_of_a_fourier_transform(rate: int, bands: int, overlap: int) -> None:
    audio = pytest.importorskip("transformers.audio_utils")
    samples = rate // 2 + 7
    waveform = torch.randn(2, samples, generator=torch.Generator().manual_seed(0)) / 10
    front = LogMel(samples, rate, bands, overlap)
    length = window_of(rate)
    hop = length * (100 - overlap) // 100
    filters = audio.mel_filter_bank(length // 2 + 1, bands, 20.0, rate / 2, rate, mel_scale="htk")
    before = (samples - samples // hop * hop) // 2
    for given, features in zip(waveform.numpy(), front(waveform), strict=True):
        power = audio.spectrogram(
            given[before:],
            audio.window_function(length, "hann"),
            length,
            hop,
            fft_length=length,
            power=2.0,
            center=False,
            mel_filters=filters,
        )
        expected = (np.log(power * (2 / length) ** 2 + FLOOR) - CENTRE) / SPREAD
        assert features.shape == (1, front.frames, bands)
        assert np.abs(features[0].numpy() - expected.T[: front.frames]).max() < 1e-4
        assert 0 <= expected.shape[1] - front.frames <= 1


def test_silence_and_full_scale_have_finite_features() -> None:
    front = LogMel(SAMPLES, RATE, 20, 50)
    both = front(torch.stack([torch.zeros(SAMPLES), torch.ones(SAMPLES)]))
    assert both.isfinite().all()
    assert both.abs().max() < 5


def test_features_survive_half_precision() -> None:
    front = LogMel(SAMPLES, RATE, 32, 50)
    times = torch.arange(SAMPLES) / RATE
    for level in (1e-3, 0.03, 1.0):
        waveform = level * (times * 300 * 2 * torch.pi).sin()[None]
        exact = front(waveform)
        half = copy.deepcopy(front).half()(waveform.half()).float()
        assert half.isfinite().all()
        loud = exact > exact.max() - 2
        assert (half - exact)[loud].abs().max() < 0.02


def test_features_are_constants_of_a_student() -> None:
    network = speech().build(random_choice(speech(), random.Random(0)))
    assert not [*network.front.parameters()]
    assert not any(name.startswith("front") for name in network.state_dict())


def test_students_of_all_features_share_a_supernet() -> None:
    space = speech()
    shared = Supernet.untrained(space)
    for seed in range(3):
        choice = random_choice(space, random.Random(seed))
        assert str(shared.inherit(choice)) == str(space.build(choice))


def test_what_is_no_speech_is_refused() -> None:
    with pytest.raises(SpaceError, match="is for recordings of words"):
        load_space("speech", channels=40, image_size=VECTOR, classes=3)
    with pytest.raises(SpaceError, match="the data are recordings: use --space speech"):
        load_space("mobile", channels=SAMPLES, image_size=VECTOR, classes=3, sample_rate=RATE)
    with pytest.raises(SpaceError, match="too short for a frame"):
        LogMel(100, RATE, 20, 50)
