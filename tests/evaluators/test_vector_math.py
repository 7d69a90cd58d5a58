"""Vector forms of mathematical functions against float64, over all of float32 and at its edges."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import torch
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn
from tvm import te, tirx

from evaluators.compile.compiler import compile_network
from evaluators.compile.vector_math import PIPELINE
from evaluators.compile.verify import verify
from evaluators.latency.host import HostDevice
from hw_profiles.profile import load_profile

Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]
LENGTH = 4096
FUNCTIONS: dict[str, tuple[Callable[[tirx.Expr], tirx.Expr], Function]] = {
    "exp": (tirx.exp, np.exp),
    "log": (tirx.log, np.log),
    "log1p": (tirx.log1p, np.log1p),
    "erf": (tirx.erf, scipy.special.erf),
    "tanh": (tirx.tanh, np.tanh),
    "sigmoid": (tirx.sigmoid, scipy.special.expit),
    "cube": (lambda x: tirx.pow(x, tirx.const(3.0)), lambda x: x**3),
    "reciprocal": (lambda x: tirx.pow(x, tirx.const(-1.0)), lambda x: 1 / x),
}
EDGES = (np.inf, -np.inf, np.nan, 0.0, -0.0, 88.72283, 88.8, -87.0, -104.0, 1e-45, -1e-45, 3.4e38, -3.4e38, -1.0)
LIBRARY_SYMBOL = re.compile(rb"\0(exp|expm1|log|log1p|erf|tanh|pow)f?\0")


@pytest.fixture(scope="module")
def compiled() -> dict[str, tvm.runtime.Module]:
    target = tvm.target.Target({**load_profile("x86-host").tvm_target, "opt-level": 2})
    return {
        name: tvm.compile(_vectors(formula), target, tir_pipeline=PIPELINE)
        for name, (formula, _) in FUNCTIONS.items()
    }


def _vectors(formula: Callable[[tirx.Expr], tirx.Expr]) -> tvm.IRModule:
    x = te.placeholder((LENGTH,), "float32", name="x")
    y = te.compute((LENGTH,), lambda i: formula(x[i]), name="y")
    schedule = tvm.s_tir.Schedule(te.create_prim_func([x, y]))
    (loop,) = schedule.get_loops(schedule.get_sblock("y"))
    schedule.vectorize(schedule.split(loop, [None, 8])[1])
    return schedule.mod


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(start=st.integers(0, 2**20 - 1))
def test_within_four_units_in_the_last_place(
    name: str, start: int, compiled: dict[str, tvm.runtime.Module]
) -> None:
    bits = np.arange(LENGTH, dtype=np.uint32) * np.uint32(2**32 // LENGTH) + np.uint32(start)
    x = bits.view(np.float32)
    x[: len(EDGES)] = EDGES
    result = tvm.runtime.tensor(np.zeros_like(x))
    compiled[name]["main"](tvm.runtime.tensor(x), result)
    with np.errstate(all="ignore"):
        exact = FUNCTIONS[name][1](x.astype(np.float64))
        rounded = exact.astype(np.float32)
    np.testing.assert_array_equal(np.isnan(rounded), np.isnan(result.numpy()))
    least = 1.7e-38
    np.testing.assert_allclose(
        result.numpy(), np.where(np.isinf(rounded), rounded, exact), rtol=4 * 2**-23, atol=least
    )


ACTIVATIONS = {
    "gelu": nn.GELU(),
    "gelu tanh": nn.GELU("tanh"),
    "silu": nn.SiLU(),
    "hard swish": nn.Hardswish(),
    "hard sigmoid": nn.Hardsigmoid(),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "softplus": nn.Softplus(),
    "mish": nn.Mish(),
    "elu": nn.ELU(),
    "log sigmoid": nn.LogSigmoid(),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_fused_activations_call_no_library(name: str, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(32, 40), ACTIVATIONS[name])
    x = 20 * torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    profile = load_profile("x86-host").with_threads(1)
    library = compile_network(network, x, profile, tmp_path / "layer.so").library
    assert verify(network, lambda batch: HostDevice(profile).run(library, batch), x, len(x)) < 1e-5
    assert not LIBRARY_SYMBOL.search(library.read_bytes())
