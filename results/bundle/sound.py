"""From a WAV file to the samples that a network takes: a bundle of a student of speech carries it as ``sound.py``.

Training reads recordings through this file too, so that a device hears what the student was taught with. One
file with numpy only. It reads RIFF/WAVE of integers (8, 16, 24, 32 bits) and floats (32, 64 bits).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LARGEST = 64_000_000
"""Bytes of samples that a recording of one word may have (six minutes of a CD)."""
RATES = (1_000, 768_000)
"""The rates that are believed, in Hz."""
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_CODECS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM", 85: "MP3"}
_OTHERS = {b"OggS": "Ogg", b"fLaC": "FLAC", b"ID3": "MP3", b"FORM": "AIFF", b"RIFX": "RIFX", b"RF64": "RF64"}
_STREAMED = 0xFFFFFFFF
_CROSSINGS = 16
"""Zero crossings of the resampling filter on each side: how sharply it cuts."""
_PASSED = 0.95
"""Share of the lower Nyquist frequency that the filter lets pass."""
_BETA = 8.0
"""Of the Kaiser window: 80 dB below in the stop band."""


@dataclass(frozen=True)
class Layout:
    """What the header of a WAV file says: Hz, channels, bits and whether they are floats, and where the samples
    are, in bytes.
    """

    rate: int
    channels: int
    bits: int
    floats: bool
    start: int
    size: int

    @property
    def frames(self) -> int:
        """Samples of each channel."""
        return self.size // (self.channels * self.bits // 8)


def waveform(path: str | Path, rate: int, length: int) -> Floats:
    """A recording as ``length`` samples at ``rate`` Hz, mono, float32 (length,) in -1..1.

    Channels are averaged. Of one that is longer, the loudest part is taken; one that is shorter stands in the
    middle of silence. Raises ``ValueError``, saying what is wrong, and ``OSError``.
    """
    samples, own = read(path)
    longest = -(-length * own // rate)
    return centred(resample(loudest(samples, longest), own, rate)[:length], length)


def read(path: str | Path) -> tuple[Floats, int]:
    """The samples of a WAV file, mono, float32 (frames,) in -1..1, and their rate in Hz.

    Raises ``ValueError``, saying what is wrong with the file, and ``OSError``.
    """
    with open(path, "rb") as handle:
        layout = look(handle)
        handle.seek(layout.start)
        content = handle.read(layout.size)
    samples = _decoded(content, layout).reshape(-1, layout.channels)
    if not np.isfinite(samples).all():
        raise ValueError("it holds samples that are NaN or infinite")
    mono: Floats = samples.mean(axis=1, dtype=np.float32) if layout.channels > 1 else samples[:, 0]
    return mono.clip(-1, 1), layout.rate


def look(handle: BinaryIO) -> Layout:
    """What the header of an open WAV file says; raises ``ValueError`` for one that cannot be read here."""
    end = handle.seek(0, 2)
    handle.seek(0)
    head = handle.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise ValueError(_not_wave(head))
    described, at = b"", 12
    while at + 8 <= end:
        handle.seek(at)
        name, size = struct.unpack("<4sI", handle.read(8))
        at += 8
        if name == b"fmt ":
            described = handle.read(min(size, 64))
        elif name == b"data":
            return _layout(described, at, size, end)
        at += size + size % 2
    raise ValueError("it is cut short: its header is there, but no samples")


def resample(samples: Floats, rate: int, target: int) -> Floats:
    """Samples (N,) at one rate as (ceil(N * target / rate),) at another, without what would alias.

    A windowed sinc (Kaiser), one set of weights for each phase between two samples, each of sum 1.
    """
    if rate == target or not len(samples):
        return samples
    shared = gcd(rate, target)
    up, down = target // shared, rate // shared
    count = -(-len(samples) * up // down)
    weights, first = _phases(up, down, min(up, count))
    reach = weights.shape[1]
    padded = np.pad(samples, reach)
    steps = np.arange(count, dtype=np.int64)
    start = steps * down // up + first + reach
    out: Floats = np.einsum("nk,nk->n", padded[start[:, None] + np.arange(reach)], weights[steps % up])
    return out


def loudest(samples: Floats, length: int) -> Floats:
    """Of samples (N,) the part of ``length`` with most energy, the first of equals; all where there are fewer."""
    if len(samples) <= length:
        return samples
    energy = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    start = int(np.argmax(energy[length:] - energy[:-length]))
    return samples[start : start + length]


def centred(samples: Floats, length: int) -> Floats:
    """Samples (N,), N at most ``length``, in the middle of zeros (length,)."""
    missing = length - len(samples)
    return np.pad(samples, (missing // 2, missing - missing // 2))


def _layout(described: bytes, start: int, size: int, end: int) -> Layout:
    if len(described) < 16:
        raise ValueError("it has no description of its samples (a chunk 'fmt ') before them")
    tag, channels, rate, _, block, bits = struct.unpack("<HHIIHH", described[:16])
    if tag == _EXTENSIBLE and len(described) >= 26:
        tag = struct.unpack("<H", described[24:26])[0]
    if tag not in (_PCM, _FLOAT):
        raise ValueError(
            f"its samples are encoded as {_CODECS.get(tag, f'format {tag}')}: convert it to PCM, as by "
            "`ffmpeg -i in.wav -c:a pcm_s16le out.wav`"
        )
    if (
        bits not in ((32, 64) if tag == _FLOAT else (8, 16, 24, 32))
        or block * 8 != channels * bits
        or not channels
    ):
        raise ValueError(
            f"its header makes no sense: {channels} channels of {bits} bits in blocks of {block} bytes"
        )
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"its header tells of {rate} samples a second, which no recording has")
    held = end - start
    if size == _STREAMED or (size == 0 and held):
        size = held
    if size > held:
        raise ValueError(f"it is cut short: its header tells of {size} bytes of samples, but {held} are there")
    size -= size % block
    if not size:
        raise ValueError("it holds no samples")
    if size > LARGEST:
        raise ValueError(f"it holds {size / 1e6:.0f} MB of samples: cut it into recordings of one word")
    return Layout(rate, channels, bits, tag == _FLOAT, start, size)


def _decoded(content: bytes, layout: Layout) -> Floats:
    """Numbers in -1..1 from their bytes, channels interleaved."""
    if layout.floats:
        return np.frombuffer(content, f"<f{layout.bits // 8}").astype(np.float32)
    if layout.bits == 8:
        return (np.frombuffer(content, np.uint8).astype(np.float32) - 128) / np.float32(128)
    if layout.bits == 24:
        return _whole(np.frombuffer(content, np.uint8).reshape(-1, 3)) / np.float32(2**31)
    whole: NDArray[Any] = np.frombuffer(content, f"<i{layout.bits // 8}")
    return whole.astype(np.float32) / np.float32(2 ** (layout.bits - 1))


def _whole(triples: NDArray[np.uint8]) -> Floats:
    """Integers of three bytes (N, 3), the lowest first, as the upper three bytes of four."""
    wide = np.zeros((len(triples), 4), np.uint8)
    wide[:, 1:] = triples
    return wide.view("<i4")[:, 0].astype(np.float32)


@lru_cache(maxsize=32)
def _phases(up: int, down: int, count: int) -> tuple[Floats, int]:
    """Of the first ``count`` outputs: weights (count, taps) of inputs, and how far before its place they begin."""
    cut = _PASSED * min(1.0, up / down)
    half = int(np.ceil(_CROSSINGS / cut))
    offsets = np.arange(1 - half, half + 1)
    between = (np.arange(count, dtype=np.int64) * down % up)[:, None] / up
    away = offsets - between
    weights = np.sinc(cut * away) * np.i0(_BETA * np.sqrt(np.clip(1 - (away / half) ** 2, 0, None)))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights.astype(np.float32), int(offsets[0])


def _not_wave(head: bytes) -> str:
    if not head:
        return "it is empty"
    other = next((name for start, name in _OTHERS.items() if head.startswith(start)), None)
    begins = f"looks like {other}" if other else f"begins with {head[:4]!r}"
    return f"it is no WAV file (it {begins}): convert it, as by `ffmpeg -i FILE out.wav`"
