"""Quantised networks (QDQ) compiled to integers, against what the same files mean in floats."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from evaluators.compile.compiler import compile_module
from evaluators.compile.importers.onnx_file import OnnxFile
from evaluators.compile.integers import dots_of
from evaluators.latency.host import HostDevice
from hw_profiles.profile import load_profile

few = settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
_KINDS = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8}


class Qdq:
    """A QDQ model written node by node; every activation is quantised to ``kind``."""

    def __init__(self, shape: tuple[int, ...], kind: str, seed: int) -> None:
        self._random, self._kind = np.random.default_rng(seed), kind
        self._shape, self._last = shape, "x"
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self.quantise()

    def quantise(self, scale: float = 0.05) -> str:
        zero = self._random.integers(100, 150) if self._kind == "uint8" else self._random.integers(-20, 20)
        grid = [
            self._constant(np.float32(scale), "scale"),
            self._constant(np.asarray(zero, self._kind), "zero"),
        ]
        whole = self._node("QuantizeLinear", [self._last, *grid])
        return self._node("DequantizeLinear", [whole, *grid])

    def layer(self, operator: str, shape: tuple[int, ...], most: int = 127, **attributes: object) -> str:
        values = self._random.choice([-most, most, 1, 0], shape).astype(np.int8)
        outputs = shape[0]
        scales = self._random.uniform(5e-4, 2e-3, outputs).astype(np.float32)
        zeros = self._constant(np.zeros(outputs, np.int8), "zeros")
        scale, data, before = self._constant(scales, "scales"), self._constant(values, "weights"), self._last
        weights = self._node("DequantizeLinear", [data, scale, zeros], axis=0)
        bias = self._constant(self._random.normal(size=outputs).astype(np.float32), "bias")
        self._node(operator, [before, weights, bias], **attributes)
        return self.quantise()

    def add(self, other: str) -> str:
        self._node("Add", [self._last, other])
        return self.quantise()

    def apply(self, operator: str, **attributes: object) -> str:
        return self._node(operator, [self._last], **attributes)

    def save(self, path: Path) -> OnnxFile:
        graph = helper.make_graph(
            self._nodes,
            "qdq",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self._shape)],
            [helper.make_tensor_value_info(self._last, TensorProto.FLOAT, None)],
            self._constants,
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return OnnxFile(path, {})

    def _constant(self, array: np.ndarray, name: str) -> str:
        self._constants.append(numpy_helper.from_array(np.asarray(array), f"{name}{len(self._constants)}"))
        return self._constants[-1].name

    def _node(self, operator: str, inputs: list[str], **attributes: object) -> str:
        self._last = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [self._last], **attributes))
        return self._last


def steps_apart(model: Qdq, folder: Path, threads: int = 1) -> float:
    """The largest difference from ONNX Runtime, in steps of the output's grid."""
    file = model.save(folder / "model.onnx")
    profile = load_profile("x86-host").with_threads(threads)
    library = compile_module(file.module(), profile, folder / "model.so").library
    x = np.random.default_rng(1).normal(size=file.inputs[0].shape).astype(np.float32)
    (expected,) = file.expected((x,))
    return float(np.abs(HostDevice(profile).run(library, x) - expected).max() / 0.05)


@few
@given(
    st.sampled_from(["uint8", "int8"]),
    st.integers(8, 24),
    st.integers(8, 40),
    st.sampled_from([1, 3, 5]),
    st.integers(1, 2),
    st.booleans(),
    st.sampled_from([64, 127]),
)
def test_convolutions(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int,
    padded: bool,
    most: int,
) -> None:
    model = Qdq((1, inputs, 9, 11), kind, outputs)
    pads = [kernel // 2 * padded] * 4
    model.layer("Conv", (outputs, inputs, kernel, kernel), most, pads=pads, strides=[stride, stride])
    assert steps_apart(model, tmp_path_factory.mktemp("model")) < 1.01


@few
@given(
    st.sampled_from(["uint8", "int8"]),
    st.integers(1, 5),
    st.integers(2, 15),
    st.integers(8, 40),
    st.sampled_from([64, 65, 127]),
)
def test_dense_layers(
    tmp_path_factory: pytest.TempPathFactory, kind: str, rows: int, groups: int, outputs: int, most: int
) -> None:
    """Weights of up to 64 never overflow where two products are added in 16 bits; larger ones may."""
    model = Qdq((rows, 4 * groups), kind, groups)
    model.layer("Gemm", (outputs, 4 * groups), most, transB=1)
    assert steps_apart(model, tmp_path_factory.mktemp("model")) < 1.01


@given(st.integers(1, 8), st.integers(1, 64), st.integers(0, 2**32))
def test_small_weights_are_exact_and_large_ones_are_not(groups: int, most: int, seed: int) -> None:
    dot = dots_of(load_profile("x86-64-avx2"))[0]
    weights = np.random.default_rng(seed).integers(-most, most + 1, (dot.depth * groups, 3)).astype(np.int16)
    assert dot.is_exact(weights)
    weights[2:4, 1] = 65, 64
    assert not dot.is_exact(weights)


def inverted_residual(kind: str) -> Qdq:
    """A small network with everything around an inverted residual."""
    model = Qdq((1, 3, 32, 32), kind, 0)
    before = model.layer("Conv", (16, 3, 3, 3), pads=[1] * 4, strides=[2, 2])
    model.layer("Conv", (48, 16, 1, 1))
    model.apply("Relu")
    model.layer("Conv", (48, 1, 3, 3), pads=[1] * 4, group=48)
    model.layer("Conv", (16, 48, 1, 1))
    model.add(before)
    model.apply("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    model.apply("GlobalAveragePool")
    model.apply("Flatten")
    model.layer("Gemm", (10, 16), transB=1)
    return model


@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_an_inverted_residual_with_everything_around_it(tmp_path: Path, kind: str) -> None:
    assert steps_apart(inverted_residual(kind), tmp_path, threads=2) < 2.01


def test_inputs_far_outside_of_the_grid_are_clipped(tmp_path: Path) -> None:
    model = Qdq((1, 8, 4, 4), "uint8", 0)
    model.layer("Conv", (8, 1, 3, 3), pads=[1] * 4, group=8)
    file = model.save(tmp_path / "model.onnx")
    profile = load_profile("x86-host").with_threads(1)
    library = compile_module(file.module(), profile, tmp_path / "model.so").library
    x = np.array([1e30, -1e30, np.inf, -np.inf, 3e9, -3e9, 1e5, -1e5] * 16, np.float32).reshape(1, 8, 4, 4)
    (expected,) = file.expected((x,))
    assert np.abs(HostDevice(profile).run(library, x) - expected).max() < 0.0505


def test_the_instruction_is_the_processors_best() -> None:
    avx2 = load_profile("x86-64-avx2")
    depths = [
        [dot.depth for dot in dots_of(profile)] for profile in (avx2, load_profile("rpi4"), load_profile("rpi5"))
    ]
    assert depths == [[4, 2], [1], [4]]
    wide = dataclasses.replace(avx2, vector_bits=512, features=(*avx2.features, "avx512_vnni"))
    assert dots_of(wide)[0].intrinsic == "llvm.x86.avx512.vpdpbusd.512"


@pytest.mark.parametrize(("mcpu", "instruction"), [("icelake-server", "vpdpbusd"), ("skylake-avx512", "vpmaddwd")])
def test_wider_machines_get_their_dot_product(tmp_path: Path, mcpu: str, instruction: str) -> None:
    from evaluators.compile.compiler import lower_kernels
    from evaluators.compile.link import build, plan_memory
    from hw_profiles.cpu_names import features_of

    avx2 = load_profile("x86-64-avx2")
    features = tuple(features_of(mcpu))
    wide = dataclasses.replace(avx2, mcpu=mcpu, vector_bits=512, vector_registers=32, features=features)
    model = Qdq((5, 64), "uint8", 0)
    model.layer("Gemm", (32, 64), transB=1)
    _, scheduled = lower_kernels(model.save(tmp_path / "model.onnx").module(), wide)
    code = build(plan_memory(scheduled)[0], wide.tvm_target).mod.imports[0].inspect_source("asm")
    assert f"{instruction}\t" in code


@few
@given(
    st.sampled_from(["uint8", "int8"]),
    st.sampled_from([8, 16, 24, 40, 88]),
    st.sampled_from([3, 5, 7]),
    st.integers(1, 2),
    st.integers(1, 2),
    st.booleans(),
)
def test_depthwise_layers(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    channels: int,
    kernel: int,
    stride: int,
    dilation: int,
    padded: bool,
) -> None:
    """Weights of which no sum in 16 bits overflows, and (of the smallest kernel) larger ones."""
    model = Qdq((1, channels, 17, 15), kind, channels)
    pads = [kernel // 2 * padded] * 4
    sizes = {"pads": pads, "strides": [stride] * 2, "dilations": [dilation] * 2, "group": channels}
    model.layer("Conv", (channels, 1, kernel, kernel), {3: 14, 5: 12, 7: 9}[kernel], **sizes)
    assert steps_apart(model, tmp_path_factory.mktemp("model")) < 1.01
