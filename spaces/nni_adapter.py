"""Everything that Understudy takes from NNI 3.0, and an NNI ``ModelSpace`` seen as a ``Space``.

Importing this module imports NNI (a second); ``spaces.catalogue`` does so only when a space is loaded.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import nni
import torch
from torch import nn

from spaces.batch import mapped, parts, twice
from spaces.choice import Choice, Value
from spaces.scales import answer_shape
from spaces.space import RESOLUTION, Space, check_choice, first_choice
from spaces.structure import blank, cost, fingerprint
from understudy import SpaceError, UnderstudyError

# NNI's evaluators, which train networks of their own, bring in Lightning and torchmetrics, seconds a process;
# with no framework to make names for, they stay where they are (`nni.nas.evaluator.pytorch`).
_framework = nni.get_default_framework()
nni.set_default_framework("none")
importlib.import_module("nni.nas.evaluator")
nni.set_default_framework(_framework)

with warnings.catch_warnings():
    # NNI 3.0 wraps every class of torch.nn and remarks on those newer than itself.
    warnings.filterwarnings("ignore", message=".*is found to be not a nn.Module", category=RuntimeWarning)
    from nni.mutable import Categorical, MutableExpression
    from nni.mutable.shortcut import choice
    from nni.nas.nn.pytorch import (
        LayerChoice,
        ModelSpace,
        MutableBatchNorm1d,
        MutableBatchNorm2d,
        MutableConv2d,
        MutableEmbedding,
        MutableLayerNorm,
        MutableLinear,
        ParametrizedModule,
        Repeat,
    )
    from nni.nas.space import model_context

__all__ = [
    "LayerChoice",
    "ModelSpace",
    "MutableBatchNorm1d",
    "MutableBatchNorm2d",
    "MutableConv2d",
    "MutableEmbedding",
    "MutableExpression",
    "MutableLayerNorm",
    "MutableLinear",
    "NniSpace",
    "ParametrizedModule",
    "Repeat",
    "choice",
    "constructor",
    "hub_class",
]

_CHOSEN = "_chosen"
_NOTES = ("_frozen_context", "_label_scope", "_mutables", _CHOSEN)


def _noted(
    cls: type[LayerChoice],
    sample: dict[str, Any],
    candidates: dict[str, nn.Module] | list[nn.Module],
    *,
    weights: list[float] | None = None,
    label: str | None = None,
) -> nn.Module:
    """The candidate of a sample, with a note of the choice that put it there: NNI itself leaves no trace."""
    names, _ = cls._init_names(candidates)
    choice = cls._inner_choice(names, weights, label)
    name = choice.freeze(sample)
    module: nn.Module = candidates[name]
    vars(module).setdefault(_CHOSEN, {})[str(choice.label)] = _encoded(name)
    return module


LayerChoice.create_fixed_module = classmethod(_noted)


class NniSpace(Space):
    """The networks of an NNI ``ModelSpace``.

    ``make`` constructs the model space anew; within NNI's ``model_context`` the same call gives the plain
    network of one choice. (``ModelSpace.freeze`` is no help: it refuses spaces that registered mutables.)
    Raises ``SpaceError`` when the space has no choices, or one that is not among finitely many values, or when
    its first network does not turn images (channels, R, R), or R ``tokens`` each below ``channels``, into so many
    classes, for each place of a map or each token where ``dense``, of several maps where it finds ``boxes``; with
    a ``question``, images and so many tokens on each.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], nn.Module],
        *,
        channels: int,
        image_size: int,
        classes: int,
        tokens: bool = False,
        dense: bool = False,
        boxes: bool = False,
        question: int = 0,
    ) -> None:
        self.name = name
        self._make = make
        self._blank = partial(blank, channels, tokens=tokens, question=question)
        self._raw = _raw_domain(name, make)
        self.domain = {label: tuple(values) for label, values in self._raw.items()}
        sizes = self.domain.get(RESOLUTION, (image_size,))
        if not all(type(size) is int and size > 0 for size in sizes):
            raise SpaceError(f"space {name}: resolution must be whole numbers of pixels, but got {sizes}")
        self.resolutions = tuple(sorted(int(size) for size in sizes))
        self._try_out(answer_shape(classes, image_size, dense, tokens, boxes))
        self._device = self._planning_device()
        self._signatures: dict[Choice, str] = {}
        self._smallest: Choice | None = None

    def build(self, choice: Mapping[str, Value]) -> nn.Module:
        return self._network(check_choice(self, choice), torch.device("cpu"))

    def resolution(self, choice: Mapping[str, Value]) -> int:
        return int(check_choice(self, choice).get(RESOLUTION, self.resolutions[-1]))

    def signature(self, choice: Mapping[str, Value]) -> str:
        checked = check_choice(self, choice)
        if checked not in self._signatures:
            self._signatures[checked] = fingerprint(self._planned(checked), self.resolution(checked))
        return self._signatures[checked]

    def smallest(self) -> Choice:
        """Found by descent along one choice at a time, until none lowers the cost."""
        if self._smallest is None:
            self._smallest = self._descend(first_choice(self))
        return self._smallest

    def largest(self) -> Choice:
        """The largest of all numbers, and one after the other the dearest of every other choice."""
        best = Choice({label: max(values, key=_size) for label, values in self.domain.items()})
        for label, values in self.domain.items():
            if len(values) > 1 and not any(map(_size, values)):
                best = max((Choice({**best, label: value}) for value in values), key=self._cost)
        return best

    def build_noted(self, choice: Mapping[str, Value]) -> tuple[nn.Module, dict[str, dict[str, Value]]]:
        """As ``build``, and by the name of a module the layer choices (by label) that put it there."""
        return self._made_of(check_choice(self, choice), torch.device("cpu"))

    def _descend(self, best: Choice) -> Choice:
        costs: dict[Choice, int] = {best: self._cost(best)}
        improved = True
        while improved:
            start = best
            for label, values in self.domain.items():
                options = [Choice({**best, label: value}) for value in values]
                for option in options:
                    if option not in costs:
                        costs[option] = self._cost(option)
                best = min([best, *options], key=costs.__getitem__)
            improved = best != start
        return best

    def _cost(self, choice: Choice) -> int:
        return cost(self._planned(choice), self._blank(self.resolution(choice)))

    def _network(self, choice: Choice, device: torch.device) -> nn.Module:
        return self._made_of(choice, device)[0]

    def _made_of(self, choice: Choice, device: torch.device) -> tuple[nn.Module, dict[str, dict[str, Value]]]:
        sample = {label: self._raw[label][value] for label, value in choice.items()}
        with device, model_context(sample):
            network = _made(f"space {self.name}, choice {choice.key}", self._make)
        chosen = {name: vars(part)[_CHOSEN] for name, part in network.named_modules() if _CHOSEN in vars(part)}
        return _plain(network), chosen

    def _planned(self, choice: Choice) -> nn.Module:
        """A network only to be looked at; leaves torch's generator as it was."""
        with torch.random.fork_rng(devices=[]):
            return self._network(choice, self._device)

    def _try_out(self, answer: tuple[int, ...]) -> None:
        first = first_choice(self)
        sample = self._blank(self.resolution(first))
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            network = self.build(first).eval()
            try:
                shape = tuple(network(*parts(mapped(twice, sample))).shape)
            except Exception as error:  # a forward of anyone's may raise anything
                shapes = " and ".join(str(tuple(part.shape[1:])) for part in parts(sample))
                raise SpaceError(
                    f"space {self.name} takes no inputs of {shapes}: its forward raised "
                    f"{type(error).__name__}: {error}"
                ) from error
        if shape != (2, *answer):
            raise SpaceError(f"space {self.name} must give {(2, *answer)} logits for 2 samples, but gave {shape}")

    def _planning_device(self) -> torch.device:
        """Torch's meta device, unless the networks of the space need real numbers to be built or run."""
        first, meta = first_choice(self), torch.device("meta")
        try:
            with torch.random.fork_rng(devices=[]):
                cost(self._network(first, meta), self._blank(self.resolution(first)))
        except (SpaceError, RuntimeError, NotImplementedError):
            return torch.device("cpu")
        return meta


def hub_class(name: str) -> type[nn.Module]:
    """The model space of that name in ``nni.nas.hub.pytorch``."""
    from nni.nas.hub import pytorch as hub

    found: type[nn.Module] = getattr(hub, name)
    return found


def constructor(space: type[nn.Module]) -> Callable[..., None]:
    """The ``__init__`` that the user wrote, from under the wrappers that NNI puts around those of model spaces."""
    wrappers = {vars(parent).get("__init__") for parent in space.__mro__ if issubclass(parent, ModelSpace)}
    written = (vars(parent).get("_init_wrapped") for parent in space.__mro__)
    found: Callable[..., None] = next(init for init in written if init is not None and init not in wrappers)
    return found


def _raw_domain(name: str, make: Callable[[], nn.Module]) -> dict[str, dict[Value, Any]]:
    """By label: NNI's values under the plain values that stand for them."""
    with torch.random.fork_rng(devices=[]):
        space: Any = _made(f"space {name}", make)
    domain: dict[str, dict[Value, Any]] = {}
    for label, mutable in space.simplify().items():
        if not isinstance(mutable, Categorical):
            raise SpaceError(
                f"space {name}: {label} is a {type(mutable).__name__}, but every choice must be among a list of "
                "values: declare it with nni.choice, LayerChoice or Repeat"
            )
        domain[str(label)] = {_encoded(value): value for value in mutable.values}
    if not domain:
        raise SpaceError(f"space {name} has no choices: declare some with nni.choice, LayerChoice or Repeat")
    return domain


def _plain(network: nn.Module) -> nn.Module:
    """Without NNI's notes on how it was made: they hold all choices, also those without effect."""
    for module in network.modules():
        for note in _NOTES:
            vars(module).pop(note, None)
    return network


def _made(what: str, make: Callable[[], nn.Module]) -> nn.Module:
    try:
        return make()
    except UnderstudyError:
        raise
    except Exception as error:  # a constructor of anyone's may raise anything
        raise SpaceError(
            f"{what} cannot be built: its constructor raised {type(error).__name__}: {error}"
        ) from error


def _size(value: Value) -> float:
    """A number by its size; 0 for all else."""
    return value if isinstance(value, int | float) else 0.0


def _encoded(value: Any) -> Value:
    return value if type(value) in (int, float, str, bool) else str(value)
