"""A user's own space: a class derived from NNI's ``ModelSpace`` in a Python file."""

from __future__ import annotations

import inspect
from pathlib import Path

from torch import nn

from spaces.nni_adapter import ModelSpace, NniSpace, constructor
from spaces.user_file import neighbours, user_module
from understudy import SpaceError, unknown_name


def user_space(
    path: Path,
    name: str,
    *,
    channels: int,
    image_size: int,
    classes: int,
    tokens: bool = False,
    dense: bool = False,
    boxes: bool = False,
) -> NniSpace:
    """The space of class ``name`` in the Python file ``path``, which is executed.

    The constructor is called with those of ``channels``, ``image_size`` and ``classes`` that it names; the file
    and it can import the modules beside the file. Raises
    ``SpaceError`` when there is no such file or class, it is no ``ModelSpace``, or it raises.
    """
    found = _model_space(path, name)
    arguments = _accepted(path, found, {"channels": channels, "image_size": image_size, "classes": classes})

    def make() -> nn.Module:
        with neighbours(path):
            return found(**arguments)

    sizes = {"channels": channels, "image_size": image_size, "classes": classes}
    return NniSpace(f"{path}:{name}", make, **sizes, tokens=tokens, dense=dense, boxes=boxes)


def _model_space(path: Path, name: str) -> type[nn.Module]:
    if not path.is_file():
        raise SpaceError(f"there is no file {path}: name the Python file that holds the space, as file.py:Class")
    module = user_module(path, SpaceError)
    classes = {key: value for key, value in vars(module).items() if isinstance(value, type)}
    if name not in classes:
        own = [key for key, value in classes.items() if value.__module__ == module.__name__]
        raise SpaceError(f"{path}: {unknown_name('class', name, own)}")
    if not issubclass(classes[name], ModelSpace):
        raise SpaceError(
            f"{path}: {name} must derive from nni.nas.nn.pytorch.ModelSpace, so that its choices are known"
        )
    found: type[nn.Module] = classes[name]
    return found


def _accepted(path: Path, space: type[nn.Module], offers: dict[str, int]) -> dict[str, int]:
    parameters = list(inspect.signature(constructor(space)).parameters.values())[1:]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return offers
    asked = {parameter.name for parameter in parameters if parameter.default is parameter.empty}
    asked -= {parameter.name for parameter in parameters if parameter.kind is parameter.VAR_POSITIONAL}
    beyond = sorted(asked - offers.keys())
    if beyond:
        raise SpaceError(
            f"{path}: the constructor of {space.__name__} needs {', '.join(beyond)}, but is given "
            f"{', '.join(offers)} only: give the others a default"
        )
    return {name: value for name, value in offers.items() if name in {parameter.name for parameter in parameters}}
