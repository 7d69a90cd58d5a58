"""What exporters take apart is put together again, whichever way they take it apart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from tvm import relax
from tvm.ir import Op

from evaluators.compile.export import export_network, import_program
from evaluators.compile.graph.canonical import canonicalise
from evaluators.compile.graph.plain import simplify


class Function(nn.Module):
    """A function as a network."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def found(function: Callable[..., Tensor], *inputs: Tensor) -> Counter[str]:
    """How often each operator is in the canonical graph of a function."""
    main = import_program(export_network(Function(function), inputs))["main"]
    counts: Counter[str] = Counter()

    def visit(expression: relax.Expr) -> None:
        if isinstance(expression, relax.Call) and isinstance(expression.op, Op):
            counts[expression.op.name.removeprefix("relax.")] += 1

    relax.analysis.post_order_visit(relax.analysis.remove_all_unused(canonicalise(main)).body, visit)
    return counts


def cubed(x: Tensor) -> Tensor:
    return math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3))


GELUS = {
    "halved last": (lambda x: x * (1 + torch.erf(x / math.sqrt(2))) * 0.5, "nn.gelu"),
    "halved first": (lambda x: 0.5 * x * (torch.erf(x * math.sqrt(0.5)) + 1), "nn.gelu"),
    "by tanh": (lambda x: 0.5 * x * (1 + torch.tanh(cubed(x))), "nn.gelu_tanh"),
}
OTHERS = {
    "another number": lambda x: x * (1 + torch.erf(x / 1.5)) * 0.5,
    "another argument": lambda x: (x + 1) * (1 + torch.erf(x / math.sqrt(2))) * 0.5,
    "not halved": lambda x: x * (1 + torch.erf(x / math.sqrt(2))),
}


@pytest.mark.parametrize("name", GELUS)
def test_gelu(name: str) -> None:
    function, operator = GELUS[name]
    counts = found(lambda x: function(x * 3), torch.randn(2, 5))
    assert counts[operator] == 1
    assert counts["erf"] == counts["tanh"] == 0


@pytest.mark.parametrize("name", OTHERS)
def test_what_only_looks_like_gelu_is_left(name: str) -> None:
    counts = found(lambda x: OTHERS[name](x.exp()), torch.randn(2, 5))
    assert counts["erf"] == 1
    assert counts["nn.gelu"] == 0


def test_layer_norm_draws_in_its_scale_and_shift() -> None:
    scale, shift = torch.randn(5), torch.randn(5)

    def norm(x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return centred / torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + 1e-5) * scale + shift

    assert found(norm, torch.randn(2, 3, 5)) == {"nn.layer_norm": 1}


def test_a_norm_over_another_axis_is_left() -> None:
    def norm(x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        return centred / torch.sqrt(centred.pow(2).mean(1, keepdim=True) + 1e-5)

    assert found(norm, torch.randn(2, 3, 5))["nn.layer_norm"] == 0


def heads() -> tuple[Tensor, ...]:
    return tuple(torch.randn(2, 3, 7, 4) for _ in range(3))


def test_attention_with_its_scale_and_mask() -> None:
    def masked(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        return ((query @ key.transpose(2, 3)) / 2.0 + mask).softmax(-1) @ value

    counts = found(masked, *heads(), torch.randn(2, 1, 1, 7))
    assert counts["nn.attention_bias"] == 1
    assert counts["matmul"] == counts["nn.softmax"] == 0


def test_attention_whose_heads_were_folded_and_rows_guarded() -> None:
    def guarded(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        turned = key.reshape(6, 7, 4).permute(0, 2, 1).reshape(2, 3, 4, 7)
        weights = ((query * 0.7) @ (turned * 0.7)).softmax(-1)
        return torch.where(torch.isnan(weights), torch.tensor(0.0), weights) @ value

    counts = found(guarded, *heads())
    assert counts["nn.attention"] == 1
    assert counts["reshape"] == counts["isnan"] == 0


def test_weights_over_another_axis_are_left() -> None:
    counts = found(lambda query, key, value: (query @ key.transpose(2, 3)).softmax(1) @ value, *heads())
    assert counts["nn.attention"] == 0


def test_picking_rows_never_reads_outside() -> None:
    rows = torch.randn(7, 3)
    main = import_program(export_network(Function(lambda ids: rows[ids]), (torch.tensor([[1, 2]]),)))["main"]
    assert 'mode="fast"' not in str(canonicalise(main))


@pytest.mark.parametrize(
    ("function", "divisions"),
    [(nn.functional.hardswish, 0), (nn.functional.hardsigmoid, 0), (lambda x: torch.floor(x / 3), 1)],
)
def test_only_gates_are_scaled_without_a_division(function: Callable[..., Tensor], divisions: int) -> None:
    main = simplify(import_program(export_network(Function(function), (torch.ones(2, 3),)))["main"])
    assert str(relax.analysis.remove_all_unused(main)).count("R.divide") == divisions
