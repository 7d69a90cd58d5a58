"""The networks of the latency model's benchmark: students of both halves of two spaces, on three devices."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from hw_profiles.cpu_names import features_of
from hw_profiles.profile import Profile, load_profile
from spaces.catalogue import load_space
from spaces.space import Space, random_choice
from tests.benchmarks.kernels.networks import NETWORKS

SPACES = ("mobile", "residual")
SIZE = 32
CLASSES = 10
TRAIN, TEST, AFTER = 80, 200, 10
"""Networks learnt from and predicted on the known device; networks measured on a device not seen before."""

FEWER = 50
"""Networks predicted on a device not seen before."""

FIRST = 20_000
"""Where the draw of the networks begins: those of lower numbers are what the model was developed on."""

OTHERS = (
    *("mobilenetv2-0.35-96", "mobilenetv2-96", "mobilenetv1", "mobilenetv2", "resnet-18", "vit-tiny"),
    *("bert-4x256", "wav2vec2-front"),
)
"""Networks of nobody here, of the comparison of kernels."""

KNOWN = "x86-host"
UNSEEN = ("older-instructions", "two-threads")


@dataclass(frozen=True)
class Candidate:
    """A network to compile: on which device, and what it is for (``train``, ``test``, ``others``)."""

    device: str
    use: str
    name: str

    @property
    def file(self) -> str:
        """A name for its files."""
        return f"{self.device}-{self.use}-{self.name.replace('#', '-')}"

    def build(self) -> tuple[nn.Module, Tensor]:
        """The network in evaluation mode, its weights from a fixed seed, and an input."""
        if self.use == "others":
            return NETWORKS[self.name].build()
        spec, number = self.name.split("#")
        torch.manual_seed(0)
        space = _space(spec)
        choice = random_choice(space, random.Random(number))
        resolution = space.resolution(choice)
        return space.build(choice).eval(), torch.zeros(1, 3, resolution, resolution)


def device(name: str) -> Profile:
    """This computer on one thread, and two devices that differ from it: in instruction set, in threads."""
    host = load_profile("x86-host").with_threads(1)
    if name == "two-threads":
        return dataclasses.replace(host.with_threads(2), name=name)
    if name == "older-instructions":
        features = tuple(sorted(features_of("x86-64-v2")))
        return dataclasses.replace(
            host, name=name, mcpu="x86-64-v2", features=features, vector_bits=128, vector_registers=16, fma=False
        )
    return host


def candidates() -> list[Candidate]:
    """All networks of the benchmark, in the order in which they are worth measuring."""
    found = [
        Candidate(KNOWN, use, name)
        for use, count in (("train", TRAIN), ("test", TEST))
        for name in _drawn(use, count)
    ]
    found += [Candidate(KNOWN, "others", name) for name in OTHERS]
    for unseen in UNSEEN:
        found += [Candidate(unseen, "train", name) for name in _drawn("train", AFTER)]
        found += [Candidate(unseen, "test", name) for name in _drawn("test", FEWER)]
    return found


def half(spec: str, number: int) -> str:
    """The half of the space that a random choice lies in, by a hash of what it chose."""
    choice = random_choice(_space(spec), random.Random(str(number)))
    digest = hashlib.sha256(repr(sorted(choice.items())).encode()).digest()
    return "train" if digest[0] % 2 else "test"


def _drawn(use: str, count: int) -> Iterator[str]:
    """As many names of networks in that half, the spaces in turn."""
    numbers = {spec: iter(range(FIRST, 10**6)) for spec in SPACES}
    for index in range(count):
        spec = SPACES[index % len(SPACES)]
        yield f"{spec}#{next(number for number in numbers[spec] if half(spec, number) == use)}"


@lru_cache
def _space(spec: str) -> Space:
    return load_space(spec, channels=3, image_size=SIZE, classes=CLASSES)
