"""The graph of a plain network, noted while torch runs it once: a tenth of the time that ``torch.export`` takes.

Only networks are taken whose graph can depend on nothing but the shapes of their inputs: all operators are plain
ones, nothing looks at a number, and nothing that others see is changed in place. ``torch.export`` does the others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind, InputSpec, TensorArgument
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

_NUMBERS = ("__array__", "__bool__", "__contains__", "__dlpack__", "__float__", "__index__", "__int__", "data_ptr")
_STORAGE = ("item", "numpy", "storage", "tolist", "untyped_storage")
_LOOKS = frozenset(getattr(Tensor, name) for name in (*_NUMBERS, *_STORAGE))
"""What hands a tensor's numbers to Python."""


class NotPlainError(Exception):
    """The network does something that ``torch.export`` has to judge."""


@dataclass(frozen=True)
class Recorded:
    """A graph with what TVM's importer asks of an ``ExportedProgram``."""

    graph: fx.Graph
    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    input_specs: tuple[InputSpec, ...]
    graph_module: nn.Module = field(default_factory=nn.Module)
    output_specs: tuple[()] = ()
    constants: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def graph_signature(self) -> Recorded:
        """Has ``input_specs`` and ``output_specs``."""
        return self

    @property
    def state_dict(self) -> Mapping[str, Tensor]:
        """Parameters by name."""
        return self.parameters

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters by name."""
        return iter(self.parameters.items())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Buffers by name."""
        return iter(self.buffers.items())


def record(
    network: nn.Module, example: tuple[Tensor, ...], is_plain: Callable[[fx.Node], bool]
) -> Recorded | None:
    """The graph of a network in evaluation mode for inputs of the example's shapes; None where it is not plain.

    ``is_plain`` is asked about each operator before it runs. The network is left as it is.
    """
    tensors = [*chain(network.parameters(), network.buffers()), *example]
    if torch.is_autocast_enabled("cpu") or not all(map(_is_plain_tensor, tensors)):
        return None
    try:
        with torch.inference_mode(), _evaluating(network):
            return _recorded(network, tuple(tensor.detach() for tensor in example), is_plain)
    except Exception:  # whatever a user's forward raises: torch.export finds it again and can say where
        return None


def _is_plain_tensor(value: Any) -> bool:
    return type(value) in (Tensor, nn.Parameter) and value.layout == torch.strided and value.device.type == "cpu"


def _recorded(
    network: nn.Module, inputs: tuple[Tensor, ...], is_plain: Callable[[fx.Node], bool]
) -> Recorded | None:
    recorder = _Recorder(is_plain)
    parameters, buffers = dict(network.named_parameters()), dict(network.named_buffers())
    specs = []
    for kind, held in ((InputKind.PARAMETER, parameters), (InputKind.BUFFER, buffers)):
        for name, tensor in held.items():
            placed = recorder.placed(f"{kind.name[0].lower()}_{name.replace('.', '_')}", tensor)
            specs.append(InputSpec(kind, TensorArgument(placed.name), name, persistent=True))
    for name, tensor in zip(_input_names(network, len(inputs)), inputs, strict=True):
        placed = recorder.placed(name, tensor)
        specs.append(InputSpec(InputKind.USER_INPUT, TensorArgument(placed.name), str(placed.target)))
    with _Guard(), recorder:
        answer = network(*inputs)
    outputs = tree_leaves(answer)
    results = [recorder.node_of(output) for output in outputs]
    if not results or any(result.op != "call_function" for result in results):
        return None
    recorder.graph.output(tuple(results))
    return Recorded(recorder.graph, parameters, buffers, tuple(specs))


def _input_names(network: nn.Module, count: int) -> list[str]:
    """The names of the first arguments of ``forward``, those of ``*arguments`` numbered."""
    names: list[str] = []
    for parameter in inspect.signature(network.forward).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            names.extend(f"{parameter.name}_{number}" for number in range(count - len(names)))
        elif parameter.kind is not parameter.VAR_KEYWORD:
            names.append(parameter.name)
    return names[:count]


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes operators as the network calls them: in inference mode torch does not take them apart before."""

    def __init__(self, is_plain: Callable[[fx.Node], bool]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.graph = fx.Graph()
        self._is_plain = is_plain
        self._nodes: dict[int, fx.Node] = {}
        self._held: list[Tensor] = []

    def placed(self, name: str, tensor: Tensor) -> fx.Node:
        """A tensor that the graph is given."""
        return self._noted(self.graph.placeholder(name), tensor)

    def node_of(self, value: Any) -> fx.Node:
        """Where a tensor comes from; raises ``NotPlainError`` when nobody knows."""
        if id(value) not in self._nodes:
            raise NotPlainError
        return self._nodes[id(value)]

    def _noted(self, node: fx.Node, tensor: Tensor) -> fx.Node:
        node.meta["val"] = torch.empty_strided(
            tuple(tensor.shape), tensor.stride(), dtype=tensor.dtype, device="meta"
        )
        self._nodes[id(tensor)] = node
        self._held.append(tensor)  # so that no other tensor gets its id
        return node

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given, named = tree_map(self._argument, (args, kwargs or {}))
        node = self.graph.call_function(operator, given, named)
        if not self._is_plain(node) or torch.is_autocast_enabled("cpu"):
            raise NotPlainError
        result = operator(*args, **(kwargs or {}))
        if not _is_plain_tensor(result):
            raise NotPlainError
        self._noted(node, result)
        return result

    def _argument(self, value: Any) -> Any:
        return self.node_of(value) if isinstance(value, Tensor) else value


class _Guard(TorchFunctionMode):
    """Refuses whatever looks at numbers."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function in _LOOKS:
            raise NotPlainError
        return function(*args, **(kwargs or {}))


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
