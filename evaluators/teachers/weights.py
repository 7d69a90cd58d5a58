"""Weights from outside for a network that the user's code builds. Nothing is unpickled but plain tensors."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from evaluators.tasks.user_code import user_function
from understudy import TeacherError

_LISTED = 3
_NESTED = ("state_dict", "model_state_dict", "model")


def build_network(spec: str) -> nn.Module:
    """The network that ``file.py:function`` returns, called without arguments; else raises ``TeacherError``."""
    function = user_function(spec, TeacherError)
    try:
        network = function()
    except Exception as error:  # the user's own code may raise anything
        raise TeacherError(f"{spec} failed with {type(error).__name__}: {error}") from error
    if not isinstance(network, nn.Module):
        raise TeacherError(f"{spec} must return a torch.nn.Module, but returned {type(network).__name__}")
    return network


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill a network with a safetensors file or a state dict of ``torch.save``.

    Raises ``TeacherError`` when the file holds more than tensors, or does not fit the network.
    """
    state = _read(path)
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    missing, unexpected = wanted.keys() - state.keys(), state.keys() - wanted.keys()
    if missing or unexpected:
        raise TeacherError(
            f"{path} does not fit the network of --teacher-model: missing {_some(sorted(missing))}; "
            f"unexpected {_some(sorted(unexpected))}; build the network that these weights are of"
        )
    for name, shape in wanted.items():
        if tuple(state[name].shape) != shape:
            raise TeacherError(
                f"{name} of {path} has the shape {tuple(state[name].shape)}, but the network of --teacher-model "
                f"wants {shape}: build the network that these weights are of"
            )
    network.load_state_dict(state)


def _read(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        raise TeacherError(
            f"{path} is not a plain state dict, and other pickled objects could run code when loaded: save "
            "network.state_dict() with safetensors or torch.save"
        ) from error
    for key in _NESTED:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise TeacherError(f"{path} is not a state dict (names to tensors): save network.state_dict()")
    return loaded


def _read_safetensors(path: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state: Mapping[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise TeacherError(f"{path} cannot be read as safetensors ({error}): save the weights again") from error
    return state


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more or "nothing"
