"""WAV files of every encoding, for tests."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np


def encoded(samples: np.ndarray, bits: int, floats: bool) -> bytes:
    """Samples (frames, channels) in -1..1 as the bytes of a WAV file's data."""
    if floats:
        return samples.astype(f"<f{bits // 8}").tobytes()
    if bits == 8:
        return np.rint(samples * 127 + 128).astype(np.uint8).tobytes()
    whole = np.rint(samples.astype(np.float64) * (2 ** (bits - 1) - 1)).astype("<i4")
    return whole.astype("<i4").view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()


def wav(
    samples: np.ndarray,
    rate: int = 8000,
    *,
    bits: int = 16,
    floats: bool = False,
    tag: int | None = None,
    before: bytes = b"",
    size: int | None = None,
) -> bytes:
    """A WAV file of samples (frames,) or (frames, channels); ``before`` are chunks before that of the samples."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    data = encoded(samples.reshape(len(samples), channels), bits, floats)
    block = channels * bits // 8
    kind = tag if tag is not None else 3 if floats else 1
    described = struct.pack("<HHIIHH", kind, channels, rate, rate * block, block, bits)
    if kind == 0xFFFE:
        described += struct.pack("<HHIH14x", 22, bits, 0, 3 if floats else 1)
    held = len(data) if size is None else size
    chunks = b"fmt " + struct.pack("<I", len(described)) + described + before
    chunks += b"data" + struct.pack("<I", held) + data + b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def tones(folder: Path, speakers: int, indices: int, rate: int = 4000) -> Path:
    """A folder of ``{word}_s{speaker}_{index}.wav``, 0.2 s each: two words, told apart by their pitch."""
    folder.mkdir(parents=True)
    times = np.arange(rate // 5) / rate
    for word, pitch in {"low": 300, "turn_off": 900}.items():
        for speaker in range(speakers):
            for index in range(indices):
                noise = np.random.default_rng([pitch, speaker, index]).normal(0, 0.01, len(times))
                samples = 0.5 * np.sin(2 * np.pi * (pitch + 7 * speaker) * times) + noise
                (folder / f"{word}_s{speaker}_{index}.wav").write_bytes(wav(samples.astype(np.float32), rate))
    return folder
