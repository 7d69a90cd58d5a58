"""ONNX files through the compiler, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from small_networks import Encoder, Pooled

from evaluators.compile.compiler import compile_module
from evaluators.compile.importers.bounds import index_bounds
from evaluators.compile.importers.network_file import NetworkFile, open_network
from evaluators.compile.verify import compare
from evaluators.latency.host import HostDevice
from evaluators.onnx_twin import write_twin
from hw_profiles.profile import Profile, load_profile
from results.bundle.runner import as_tuple, random_inputs
from understudy import CompileError

KINDS = {np.float32: TensorProto.FLOAT, np.int64: TensorProto.INT64, np.bool_: TensorProto.BOOL}


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("x86-host").with_threads(1)


def difference(network: NetworkFile, profile: Profile, folder: Path) -> float:
    """How far the compiled network is from the original, on random inputs."""
    module = network.module()
    specs = zip(network.inputs, index_bounds(module), strict=True)
    inputs = random_inputs([each.to_json() | {"below": bound} for each, bound in specs])
    compiled = compile_module(module, profile, folder / "network.so")
    assert compiled.inputs == network.inputs
    return compare(network.expected(inputs), as_tuple(HostDevice(profile).run(compiled.library, inputs)))


def write(path: Path, nodes: list[Any], shapes: dict[str, list[Any]], held: dict[str, Any]) -> Path:
    """An ONNX file of float32 inputs of these shapes and of constants; its output is ``y``."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [helper.make_empty_tensor_value_info("y")],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in held.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)], ir_version=8
    )
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def node(kind: str, *inputs: str, **attributes: Any) -> Any:
    return helper.make_node(kind, list(inputs), ["y"], **attributes)


IMAGE = [1, 3, 8, 8]
OPERATORS = {
    "clip": (node("Clip", "x", "low", "high"), IMAGE, {"low": np.float32(-0.5), "high": np.float32(0.5)}),
    "clip above": (node("Clip", "x", "", "high"), IMAGE, {"high": np.float32(0.5)}),
    "gather from the end": (node("Gather", "x", "i", axis=1), IMAGE, {"i": np.array([[-1, 0]])}),
    "gemm": (
        node("Gemm", "x", "w", "b", alpha=0.5, beta=2.0, transA=1, transB=1),
        [6, 4],
        {"w": np.ones((5, 6), np.float32), "b": np.arange(5, dtype=np.float32)},
    ),
    "max of three": (node("Max", "x", "a", "x"), IMAGE, {"a": np.zeros((3, 1, 1), np.float32)}),
    "pad": (node("Pad", "x", "p", "v"), IMAGE, {"p": [0, 0, 1, 2, 0, 0, 3, 0], "v": np.float32(2)}),
    "reflect": (node("Pad", "x", "p", mode="reflect"), IMAGE, {"p": [0, 0, 1, 2, 0, 0, 3, 0]}),
    "celu, which is written in others": (node("Celu", "x", alpha=0.7), IMAGE, {}),
    "gather elements": (node("GatherElements", "x", "i", axis=1), [5, 12], {"i": np.array([[0, -1]] * 5)}),
    "gather nd": (node("GatherND", "x", "i"), [5, 12], {"i": np.array([[0, 1], [4, -1]])}),
    "scatter nd": (
        node("ScatterND", "x", "i", "u"),
        [5, 12],
        {"i": np.array([[1], [3]]), "u": np.ones((2, 12), np.float32)},
    ),
    "hyperbolic cosine": (node("Cosh", "x"), IMAGE, {}),
    "hard swish": (node("HardSwish", "x"), IMAGE, {}),
    "split to one": (helper.make_node("Split", ["x", "s"], ["a", "y"], axis=3), IMAGE, {"s": [3, 5]}),
    "average with padding": (
        node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=0),
        IMAGE,
        {},
    ),
    "resize": (
        node("Resize", "x", "", "s", mode="linear", coordinate_transformation_mode="half_pixel"),
        IMAGE,
        {"s": np.array([1, 1, 2, 2], np.float32)},
    ),
}


GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
RECURRENT = [
    ("LSTM", {}, True),
    ("LSTM", {"direction": "bidirectional"}, True),
    ("GRU", {}, False),
    ("GRU", {"linear_before_reset": 1, "direction": "reverse"}, True),
    ("RNN", {}, True),
]


@pytest.mark.parametrize(("kind", "attributes", "biased"), RECURRENT)
def test_recurrent_layers(
    kind: str, attributes: dict[str, Any], biased: bool, profile: Profile, tmp_path: Path
) -> None:
    generator, ways, rows = np.random.default_rng(0), 1 + ("bidirectional" in attributes.values()), 9 * GATES[kind]
    shapes = {"w": (ways, rows, 12), "r": (ways, rows, 9)} | ({"b": (ways, 2 * rows)} if biased else {})
    held = {name: generator.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    made = node(kind, "x", *held, hidden_size=9, **attributes)
    path = write(tmp_path / "network.onnx", [made], {"x": [3, 2, 12]}, held)
    assert difference(open_network(path, {}), profile, tmp_path) < 1e-5


def test_recurrent_layers_of_rare_kinds_are_refused(tmp_path: Path) -> None:
    held = {"w": np.ones((1, 9, 12), np.float32), "r": np.ones((1, 9, 9), np.float32)}
    path = write(
        tmp_path / "n.onnx", [node("RNN", "x", "w", "r", hidden_size=9, clip=1.0)], {"x": [3, 2, 12]}, held
    )
    with pytest.raises(CompileError, match=r"operator RNN cannot be compiled .*clipping"):
        open_network(path, {}).module()


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator(name: str, profile: Profile, tmp_path: Path) -> None:
    made, shape, held = OPERATORS[name]
    path = write(tmp_path / "network.onnx", [made], {"x": shape}, held)
    assert difference(open_network(path, {}), profile, tmp_path) < 1e-6


def test_arithmetic_on_shapes_leaves_nothing_in_the_graph(profile: Profile, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["batch"]),
        helper.make_node("Equal", ["batch", "first"], ["empty"]),
        helper.make_node("Where", ["empty", "first", "batch"], ["kept"]),
        helper.make_node("Concat", ["kept", "rest"], ["wanted"], axis=0),
        node("Reshape", "x", "wanted"),
    ]
    held = {"first": np.array([0]), "rest": np.array([-1])}
    network = open_network(write(tmp_path / "network.onnx", nodes, {"x": ["batch", 3, 4]}, held), {"x": (2, 3, 4)})
    assert difference(network, profile, tmp_path) == 0
    assert "shape" not in str(network.module()).replace("R.shape", "").replace("reshape", "")


@pytest.mark.parametrize("network", [Encoder(), Pooled()], ids=["encoder", "pooled"])
def test_files_of_torch(network: Any, profile: Profile, tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    names = [f"output {number}" for number in range(network.outputs)]
    write_twin(network, network.example(), path, ["first", "second"], names)
    assert difference(open_network(path, {}), profile, tmp_path) < 1e-5


def test_free_sizes_are_given_or_asked_for(tmp_path: Path) -> None:
    shapes = {"x": ["batch", "length"], "z": ["batch", "length"]}
    path = write(tmp_path / "network.onnx", [node("Add", "x", "z")], shapes, {})
    with pytest.raises(CompileError, match=r"input x open \(batchxlength\): give them, as in --input x=1x128"):
        open_network(path, {})
    with pytest.raises(CompileError, match="did you mean 'x'"):
        open_network(path, {"xx": (1, 4)})
    assert [each.shape for each in open_network(path, {"z": (2, 7)}).inputs] == [(2, 7), (2, 7)]
    fixed = write(tmp_path / "fixed.onnx", [node("Relu", "x")], {"x": ["batch", 4]}, {})
    assert open_network(fixed, {}).inputs[0].shape == (1, 4)
    with pytest.raises(CompileError, match="takes x as batchx4, but --input says 1x5"):
        open_network(fixed, {"": (1, 5)})


def test_what_cannot_be_compiled_names_the_operator(tmp_path: Path) -> None:
    made = helper.make_node("Fancy", ["x"], ["y"], name="node 7", domain="com.example")
    path = write(tmp_path / "network.onnx", [made], {"x": [2]}, {})
    with pytest.raises(CompileError, match=r"operator com\.example\.Fancy \(node 7\)"):
        open_network(path, {}).module()
    late = helper.make_node("Reshape", ["x", "shape"], ["y"], name="node 8")
    cast = helper.make_node("Cast", ["x"], ["shape"], to=TensorProto.INT64)
    path = write(tmp_path / "late.onnx", [cast, late], {"x": [2]}, {})
    with pytest.raises(CompileError, match=r"operator Reshape \(node 8\) cannot be compiled"):
        open_network(path, {}).module()


@pytest.mark.parametrize("content", [b"", b"not onnx"])
def test_a_file_that_is_no_network(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "network.onnx").write_bytes(content)
    with pytest.raises(CompileError, match=r"network\.onnx"):
        open_network(tmp_path / "network.onnx", {})
    with pytest.raises(CompileError, match="no file"):
        open_network(tmp_path / "none.onnx", {})
    (tmp_path / "network.h5").write_bytes(b"")
    with pytest.raises(CompileError, match=r"no \.onnx or \.pt2 file"):
        open_network(tmp_path / "network.h5", {})


def test_weights_beside_the_file_are_put_into_the_copy(tmp_path: Path) -> None:
    held = {"w": np.random.default_rng(0).standard_normal((64, 64), np.float32)}
    path = write(tmp_path / "network.onnx", [node("MatMul", "x", "w")], {"x": [1, 64]}, held)
    onnx.save_model(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    network = open_network(path, {})
    network.write_onnx(tmp_path / "copy.onnx")
    (tmp_path / "weights.bin").unlink()
    (copied,) = onnx.load(tmp_path / "copy.onnx").graph.initializer
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(copied), held["w"])
