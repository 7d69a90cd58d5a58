"""WAV files as devices read them: every common encoding, other rates and lengths, and what is no such file."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from results.bundle import sound
from tests.wav_files import wav

RATE = 8000
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)


def saved(folder: Path, content: bytes) -> Path:
    path = folder / "word.wav"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("bits", "floats", "tag", "error"),
    [
        (8, False, None, 1 / 100),
        (16, False, None, 1e-4),
        (24, False, None, 1e-6),
        (24, False, 0xFFFE, 1e-6),
        (32, False, None, 1e-6),
        (32, True, None, 0),
        (64, True, 0xFFFE, 1e-7),
    ],
)
def test_encodings_give_the_same_samples(tmp_path: Path, bits, floats, tag, error) -> None:
    samples, rate = sound.read(saved(tmp_path, wav(TONE, bits=bits, floats=floats, tag=tag)))
    assert rate == RATE
    assert samples.dtype == np.float32
    assert np.abs(samples - TONE).max() <= error


def test_channels_are_averaged_and_other_chunks_passed_over(tmp_path: Path) -> None:
    both = np.stack([TONE, -TONE / 2], axis=1)
    listed = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    samples, _ = sound.read(saved(tmp_path, wav(both, before=listed)))
    assert np.abs(samples - TONE / 4).max() < 1e-4


def test_a_stream_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    samples, _ = sound.read(saved(tmp_path, wav(TONE, size=0xFFFFFFFF)))
    assert len(samples) == len(TONE)


@pytest.mark.parametrize("rate", [11_025, 16_000, 44_100, 44_101])
def test_tones_survive_resampling_and_what_would_alias_does_not(rate: int) -> None:
    times = np.arange(rate // 2) / rate
    low = sound.resample(np.sin(2 * np.pi * 1000 * times).astype(np.float32), rate, RATE)
    assert len(low) == -(-len(times) * RATE // rate)
    expected = np.sin(2 * np.pi * 1000 * np.arange(len(low)) / RATE)
    assert np.abs(low - expected)[100:-100].max() < 1e-3
    high = sound.resample(np.sin(2 * np.pi * 5000 * times).astype(np.float32), rate, RATE)
    assert np.abs(high)[100:-100].max() < 1e-3


def test_the_loudest_part_is_taken_and_what_is_short_stands_in_the_middle(tmp_path: Path) -> None:
    path = saved(
        tmp_path, wav(np.concatenate([0.1 * TONE, np.zeros(4000, np.float32), TONE[:2000]]), floats=True, bits=32)
    )
    assert np.array_equal(sound.waveform(path, RATE, 2000), TONE[:2000])
    path = saved(tmp_path, wav(TONE[:100], floats=True, bits=32))
    padded = sound.waveform(path, RATE, 200)
    assert np.array_equal(padded[50:150], TONE[:100])
    assert not padded[:50].any()
    assert not padded[150:].any()
    path = saved(tmp_path, wav(np.zeros(10_000, np.float32), 44_100))
    assert np.array_equal(sound.waveform(path, RATE, 2000), np.zeros(2000, np.float32))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"ID3\x04 and so on, as MP3 files begin", "looks like MP3"),
        (b"hello, world: this is text", "no WAV file"),
        (wav(TONE)[:30], "cut short"),
        (wav(TONE)[:-1000], "cut short: its header tells of 16000 bytes of samples, but 15000 are there"),
        (wav(TONE[:0]), "holds no samples"),
        (wav(TONE, tag=7), "encoded as mu-law"),
        (wav(TONE, rate=3), "3 samples a second"),
        (wav(np.full(9, np.nan, np.float32), bits=32, floats=True), "NaN or infinite"),
        (b"RIFF\x24\0\0\0WAVEdata\x02\0\0\0\0\0", "no description of its samples"),
    ],
)
def test_what_is_no_recording_says_so(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sound.waveform(saved(tmp_path, content), RATE, 1000)
