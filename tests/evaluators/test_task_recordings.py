"""Folders of WAV files as tasks: which recordings judge, how long and at what rate they are, what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evaluators.tasks.heard import form
from evaluators.tasks.load import load_task
from evaluators.tasks.opening import open_task
from evaluators.tasks.waveform_task import WaveformTask
from results.bundle import sound
from tests.wav_files import tones, wav
from understudy import DataError

RATE = 4000


def tone(pitch: float, seconds: float = 0.2, rate: int = RATE, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.01, round(seconds * rate))
    return (0.5 * np.sin(2 * np.pi * pitch * np.arange(len(noise)) / rate) + noise).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav(samples, rate))


def load(folder: Path, **more) -> WaveformTask:
    task = load_task(str(folder), cache=folder.parent / "cache", seed=0, **more)
    assert isinstance(task, WaveformTask)
    return task


def test_whole_numbers_are_held_out_of_few_speakers(tmp_path: Path) -> None:
    task = load(tones(tmp_path / "words", 3, 10))
    assert task.labels == ("low", "turn_off")
    assert dict(task.counts) == {"train": 48, "val": 6, "test": 6}
    assert any("all 3 speakers: number 0 in test, number 1 in val" in note for note in task.notes)
    low = [sound.read(tmp_path / "words" / f"low_s{speaker}_0.wav")[0] for speaker in range(3)]
    assert np.array_equal(task.images("test", range(3), 1).numpy(), np.stack(low))


def test_whole_speakers_are_held_out_of_many(tmp_path: Path) -> None:
    for word, pitch in {"low": 300, "high": 900}.items():
        for speaker in range(20):
            for index in range(2):
                path = tmp_path / "words" / word / f"{speaker:x}f_nohash_{index}.wav"
                write(path, tone(pitch + 7 * speaker, seed=speaker))
    write(tmp_path / "words" / "_background_noise_" / "hum.wav", tone(50, 3))
    task = load(tmp_path / "words")
    assert task.labels == ("high", "low")
    assert dict(task.counts) == {"train": 56, "val": 12, "test": 12}
    assert any(
        "each speaker is in one split only: 14 in train, 3 in val, 3 in test" in note for note in task.notes
    )
    spoken = {
        name: {row.tobytes() for row in task.images(name, range(task.size(name)), 1).numpy()}
        for name in task.counts
    }
    assert not spoken["test"] & (spoken["train"] | spoken["val"])


def test_folders_of_splits_are_kept_and_the_task_opens_elsewhere(tmp_path: Path) -> None:
    for split, count in {"train": 6, "valid": 3, "test": 2}.items():
        for word, pitch in {"low": 300, "high": 900}.items():
            for index in range(count):
                write(tmp_path / "words" / split / word / f"{index}.wav", tone(pitch, seed=len(split) + index))
    task = load(tmp_path / "words")
    assert dict(task.counts) == {"train": 12, "val": 6, "test": 4}
    again = open_task(task.folder)
    assert again == task
    assert (again.channels, again.sample_rate) == (800, RATE)
    assert again.preprocess(1) == {"features": 800, "mean": [0.0], "std": [1.0], "sample_rate": RATE}


def test_lists_of_speech_commands_divide(tmp_path: Path) -> None:
    for word, pitch in {"low": 300, "high": 900}.items():
        for index in range(4):
            write(tmp_path / "words" / word / f"ab_nohash_{index}.wav", tone(pitch, seed=index))
    (tmp_path / "words" / "validation_list.txt").write_text("low/ab_nohash_0.wav\nhigh/ab_nohash_3.wav\n")
    (tmp_path / "words" / "testing_list.txt").write_text("low/ab_nohash_1.wav\n")
    task = load(tmp_path / "words")
    assert dict(task.counts) == {"train": 5, "val": 2, "test": 1}
    assert task.targets("val").tolist() == [0, 1]


def test_rate_and_length_are_those_of_most() -> None:
    assert form([8000] * 3 + [44_100], [0.41] * 96 + [9.0] * 4) == (8000, 4000)
    assert form([44_100, 44_100, 8000], [60.0]) == (16_000, 80_000)


def test_views_vary_a_recording_and_are_the_same_whenever_asked(tmp_path: Path) -> None:
    task = load(tones(tmp_path / "words", 2, 5))
    clean, view = (task.images("train", [0, 1, 2], 1, view) for view in (0, 3))
    assert not np.array_equal(clean, view)
    assert view.abs().max() <= 1
    assert np.array_equal(task.images("train", [2], 1, 3)[0], view[2])
    assert not np.array_equal(task.images("train", [2], 1, 4)[0], view[2])


def test_broken_files_are_named_or_left_out(tmp_path: Path) -> None:
    folder = tones(tmp_path / "words", 2, 6)
    (folder / "low_s0_4.wav").write_bytes(b"not a recording")
    with pytest.raises(DataError, match=r"low_s0_4.wav cannot be used: .* \(1 such of 24 files\)\. .* --skip-bad"):
        load(folder)
    write(folder / "low_s1_4.wav", np.zeros(9000, np.float32), 44_100)
    task = load(folder, on_bad="skip")
    assert sum(task.counts.values()) == 23
    assert any(note.startswith("1 unreadable recordings were left out") for note in task.notes)
    assert "1 recordings are silent from beginning to end" in task.notes


def test_folders_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    write(tmp_path / "loose" / "hello.wav", tone(300))
    with pytest.raises(DataError, match="put them into one folder a class"):
        load(tmp_path / "loose")
    write(tmp_path / "one" / "hello" / "1.wav", tone(300))
    with pytest.raises(DataError, match="fewer than two classes"):
        load(tmp_path / "one")
    with pytest.raises(DataError, match="recordings, not images"):
        load(tones(tmp_path / "words", 1, 5), image_size=32)
