"""What a built network is and what it costs, read without running it on data."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from spaces.batch import Batch, moved, parts
from spaces.space import sample_shape

_ELEMENTWISE = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.ReLU,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.SiLU,
    nn.GELU,
    nn.Dropout,
    nn.LayerNorm,
)
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def fingerprint(network: nn.Module, resolution: int) -> str:
    """SHA-256 (hex) of the architecture: every module's name, type, settings, and shapes of its tensors.

    The weights do not count, so the network may live on torch's meta device.
    """
    digest = hashlib.sha256(f"{resolution}\n".encode())
    for line in _lines(network):
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def blank(channels: int, size: int, tokens: bool = False, question: int = 0) -> Batch:
    """One sample as a network takes it, all zeros but for the first token, which a text always has.

    With a ``question``, of so many tokens, it is a picture and a question.
    """
    if question:
        return (*parts(blank(channels, size)), *parts(blank(0, question, tokens=True)))
    if not tokens:
        return torch.zeros(1, *sample_shape(channels, size))
    ids = torch.zeros(1, size, dtype=torch.int64)
    ids[0, 0] = 1
    return ids


def cost(network: nn.Module, sample: Batch) -> int:
    """Parameters plus multiply-adds for one sample, batch first.

    Counts convolutions, matrix products and attention; the network, left in evaluation mode, may live on torch's
    meta device.
    """
    parameters = sum(parameter.numel() for parameter in network.parameters())
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    counter = FlopCounterMode(display=False)
    network.eval()
    with torch.no_grad(), _passing_over(network, _ELEMENTWISE), counter:
        network(*parts(moved(sample, device)))
    return parameters + int(counter.get_total_flops()) // 2


@contextmanager
def _passing_over(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> Iterator[None]:
    """Within, modules of these kinds return their input: they multiply nothing, and are slow on meta tensors."""
    passed = [module for module in network.modules() if isinstance(module, kinds)]
    for module in passed:
        vars(module)["forward"] = _same
    try:
        yield
    finally:
        for module in passed:
            del vars(module)["forward"]


def _same(features: torch.Tensor) -> torch.Tensor:
    return features


def _lines(network: nn.Module) -> Iterator[str]:
    for name, module in network.named_modules():
        settings = {key: _plain(value) for key, value in vars(module).items() if key not in _OF_EVERY_MODULE}
        tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        shapes = {key: [*tensor.shape, str(tensor.dtype)] for key, tensor in tensors}
        yield json.dumps([name, _type_name(module), settings, shapes], sort_keys=True, default=str)


def _plain(value: object) -> object:
    """A setting in a form that is the same in every process: no addresses, only values and names of types."""
    if value is None or isinstance(value, int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, functools.partial):
        return [_plain(value.func), _plain(value.args), _plain(value.keywords)]
    return _type_name(value)


def _type_name(value: object) -> str:
    named = (
        value if isinstance(value, type) or (callable(value) and not isinstance(value, nn.Module)) else type(value)
    )
    return f"{getattr(named, '__module__', '')}.{getattr(named, '__qualname__', type(named).__qualname__)}"
