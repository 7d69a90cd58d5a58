"""Log-mel features of a waveform by matrix products with constants, so that they are part of a network.

The discrete Fourier transform of a frame is four products of a quarter of its length each. With its samples taken
at half steps (n + 1/2), which leaves magnitudes as they are, cosines and sines of frequency k are symmetric or
antisymmetric about the middle of the frame and, by whether k is even or odd, about its quarters: sums and
differences of the four quarters are all that is left to multiply, an eighth of the plain product's multiply-adds.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from understudy import SpaceError

WINDOW_S = 0.032
"""Seconds of a frame, as far as a power of two of samples allows."""
LOWEST_HZ = 20.0
FLOOR = 1e-8
"""Power that counts as silence, where a tone of full scale has 1/4."""
LOUDER = 256.0
"""What samples are multiplied by meanwhile: powers of speech and of ``FLOOR`` are then numbers of float16, too."""
CENTRE, SPREAD = -14.0, 4.0
"""What is taken off the logarithm, and what it is divided by: speech and silence lie about 0 from then on."""


def window_of(sample_rate: int) -> int:
    """Samples of a frame: the power of two nearest to 32 ms."""
    return max(16, 1 << round(math.log2(WINDOW_S * sample_rate)))


class LogMel(nn.Module):
    """Logarithms of the power in mel bands: (N, samples) float32 in -1..1 -> (N, 1, frames, bands).

    Frames of ``window_of(sample_rate)`` samples (Hann window), of which neighbours share ``overlap`` per cent;
    what samples are left over are in none, half of them at each end (nothing is padded: a kernel that asks at each
    sample whether there is one takes several times as long). Triangular filters on the mel scale of HTK (Young et
    al., "The HTK Book", 2002) from 20 Hz to half the rate. Everything is constant: there is nothing to learn.
    Raises ``SpaceError`` for too few samples for a frame.
    """

    window: Tensor
    transform: Tensor
    bank: Tensor

    def __init__(self, samples: int, sample_rate: int, bands: int, overlap: int) -> None:
        super().__init__()
        self.length = window_of(sample_rate)
        self.samples, self.sample_rate, self.bands, self.overlap = samples, sample_rate, bands, overlap
        self.hop = self.length * (100 - overlap) // 100
        self.rows = samples // self.hop
        self.frames = self.rows + 1 - -(-self.length // self.hop)
        if self.frames < 1:
            raise SpaceError(f"{samples} samples at {sample_rate} Hz are too short for a frame of {self.length}")
        constants = {
            "window": np.hanning(self.length + 1)[:-1] * (2 * LOUDER / self.length),
            "transform": _quarters(self.length),
            "bank": _by_parity(mel_filters(self.length, sample_rate, bands)),
        }
        for name, values in constants.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)

    def extra_repr(self) -> str:
        """The settings, so that they are part of a hash of the printed network."""
        return f"{self.samples}, {self.sample_rate} Hz, bands={self.bands}, overlap={self.overlap} %"

    def forward(self, waveforms: Tensor) -> Tensor:
        """Features of a batch."""
        quarter = self.length // 4
        framed = self._framed(waveforms) * self.window
        first = framed[..., :quarter]
        second = framed[..., quarter : 2 * quarter].flip(-1)
        third = framed[..., 2 * quarter : 3 * quarter]
        fourth = framed[..., 3 * quarter :].flip(-1)
        outer, inner = first + fourth, second + third
        outer_odd, inner_odd = first - fourth, second - third
        folded = torch.stack([outer + inner, outer_odd - inner_odd, outer - inner, outer_odd + inner_odd])
        parts = folded.reshape(4, -1, quarter).matmul(self.transform)
        squares = (parts * parts).reshape(2, 2, -1, quarter)
        power = squares.sum(1).permute(1, 0, 2).reshape(-1, 2 * quarter)
        logarithms = torch.log(power.matmul(self.bank) + FLOOR * LOUDER**2)
        centre = CENTRE + 2 * math.log(LOUDER)
        return ((logarithms - centre) / SPREAD).reshape(-1, 1, self.frames, self.bands)

    def _framed(self, waveforms: Tensor) -> Tensor:
        """Overlapping frames, (N, frames, length): rows of a hop each, and what overlaps of the rows behind."""
        used = self.rows * self.hop
        before = (self.samples - used) // 2
        hops = waveforms[:, before : before + used].reshape(-1, self.rows, self.hop)
        pieces = [
            hops[:, start // self.hop : start // self.hop + self.frames, : self.length - start]
            for start in range(0, self.length, self.hop)
        ]
        return torch.cat(pieces, dim=-1)


def mel_filters(length: int, sample_rate: int, bands: int) -> NDArray[np.float64]:
    """Weights in each band of the length / 2 + 1 frequencies from 0 to half the rate, (frequencies, bands)."""
    lowest, highest = (2595 * math.log10(1 + hertz / 700) for hertz in (LOWEST_HZ, sample_rate / 2))
    edges = 700 * (10 ** (np.linspace(lowest, highest, bands + 2) / 2595) - 1)
    hertz = np.arange(length // 2 + 1)[:, None] * (sample_rate / length)
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return np.minimum(rising, falling).clip(0)


def _quarters(length: int) -> NDArray[np.float64]:
    """Cosines and sines of even, then of odd frequencies, at the first quarter's half steps: (4, L/4, L/4)."""
    steps = np.arange(length // 4)[:, None] + 0.5
    even = 2 * math.pi / length * steps * np.arange(0, length // 2, 2)
    odd = 2 * math.pi / length * steps * np.arange(1, length // 2, 2)
    return np.stack([np.cos(even), np.sin(even), np.cos(odd), np.sin(odd)])


def _by_parity(filters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Filters by even, then by odd frequencies; half the rate itself, the edge of the last one, has no weight."""
    return np.concatenate([filters[:-1:2], filters[1::2]])
