"""What is compiled of a network: it itself, or of one that goes on with texts a program for a prompt and one for a
token more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from results.bundle.runner import MAIN
from spaces.batch import Batch, single, sliced
from spaces.decoder import Decoder
from spaces.language import decoder_of

STUDENT, PREFILL = "student", "prefill"
"""Names of programs: of the one that a call is, and of the one that reads a prompt."""


@dataclass(frozen=True)
class Program:
    """A network to compile.

    Its ONNX file is called ``name``, and its time is the figure ``metric`` of the record. ``inputs`` are real ones
    of several samples, ``example`` of one call; ``ins`` and ``outs`` are what the file calls what it takes and
    gives, where that is more than one of each.
    """

    name: str
    metric: str
    network: nn.Module
    example: Batch
    inputs: Batch
    ins: tuple[str, ...] = ()
    outs: tuple[str, ...] = ()

    @property
    def function(self) -> str:
        """What it is called in the library that all programs of a network share."""
        return MAIN if self.name == STUDENT else self.name


class _Asked(nn.Module):
    """A decoder of which one method is the forward."""

    def __init__(self, decoder: Decoder, way: str) -> None:
        super().__init__()
        self.decoder, self.way = decoder, way

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """What the method gives."""
        answer: tuple[Tensor, Tensor] = getattr(self.decoder, self.way)(*inputs)
        return answer


def programs_of(network: nn.Module, samples: Batch) -> tuple[Program, ...]:
    """The programs of a network, the one that a call is first; ``samples`` are a few as the network gets them."""
    decoder = decoder_of(network)
    if decoder is None:
        return (Program(STUDENT, "latency", network, sliced(samples, 0, 1), samples),)
    window = single(samples)[:1]
    training, middle = network.training, window.shape[1] // 2
    place = torch.tensor([middle])
    try:
        with torch.no_grad():
            _, cache = decoder.eval().prefill(window, place - 1)
    finally:
        network.train(training)
    token = (window[:, middle], place, cache)
    return (
        Program(
            STUDENT,
            "latency",
            _Asked(decoder, "step"),
            token,
            token,
            ("token", "position", "cache"),
            ("logits", "entry"),
        ),
        Program(
            PREFILL,
            "first_token",
            _Asked(decoder, "prefill"),
            (window, place),
            (window, place),
            ("prompt", "position"),
            ("logits", "cache"),
        ),
    )


def device_facts(network: nn.Module) -> Mapping[str, Any]:
    """What a device must know of a network beside what it must know of the data."""
    decoder = decoder_of(network)
    return {} if decoder is None else {"cache": list(decoder.cache_shape)}
