"""The GPU's kernels: their schedules run as plain loops here, and compiled for a Jetson as far as a library.

No GPU runs them: what a schedule computes is checked with its threads in turn and its fragments as loops.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import tvm
from torch import Tensor, nn
from tvm.tirx import PrimFunc

from evaluators.compile.compiler import lower_kernels
from evaluators.compile.cuda import columns, tensor_cores, toolkit, window
from evaluators.compile.cuda.fragments import loops
from evaluators.compile.cuda.gemm_tiles import tile_of
from evaluators.compile.cuda.half import to_half
from evaluators.compile.export import import_network
from evaluators.compile.link import plan_memory
from evaluators.compile.rules.apply import rule_of
from evaluators.compile.tune.tuned import TuningRequest, compile_tuned
from evaluators.latency.quiet import QuietCores
from hw_profiles.profile import load_profile
from search.checks import check_names
from search.compilation import compile_file
from search.config import SearchConfig
from search.display import Display, make_console
from understudy import CompileError, ConfigError, MeasureError

JETSON = load_profile("jetson-orin-nano")


class Block(nn.Module):
    """Pointwise, depthwise and strided convolutions with a residual sum, as students have them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 3, 2, padding=1)
        self.wide = nn.Conv2d(24, 40, 1)
        self.deep = nn.Conv2d(40, 40, 5, padding=2, groups=40)
        self.narrow = nn.Conv2d(40, 24, 1)
        self.full = nn.Conv2d(24, 33, 3, padding=1)
        self.last = nn.Linear(33, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = x + self.narrow(nn.functional.relu6(self.deep(nn.functional.hardswish(self.wide(x)))))
        return self.last(torch.relu(self.full(x)).mean((2, 3)))


def as_loops(scheduled: PrimFunc) -> PrimFunc:
    """The scheduled kernel with all memory alike, threads one after the other and nothing fetched ahead."""
    text = tvm.IRModule({"main": scheduled.with_attr("global_symbol", "main")}).script(show_meta=True)
    text = re.sub(
        r', scope="[^"]*"', "", re.sub(r'T.thread_binding\(([^,]*), thread="[^"]*"\)', r"T.serial(\1)", text)
    )
    return tvm.script.from_source(re.sub(r'"(software_pipeline|tirx.manifest)_', r'"not_\1_', text))["main"]


def outcome(function: PrimFunc, inputs: list[np.ndarray]) -> np.ndarray:
    """What a kernel computes on this computer; its output is its last parameter."""
    built = tvm.compile(tvm.IRModule({"main": function.with_attr("global_symbol", "main")}), target="llvm")
    output = function.params[-1].ty
    result = tvm.runtime.empty(tuple(int(extent) for extent in output.shape), str(output.dtype))
    built["main"](*[tvm.runtime.tensor(each) for each in inputs], result)
    return result.numpy().astype(np.float32)


def random_inputs(function: PrimFunc) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    types = [parameter.ty for parameter in function.params[:-1]]
    return [
        generator.normal(size=[int(extent) for extent in each.shape]).astype(str(each.dtype)) for each in types
    ]


@pytest.fixture(scope="module")
def kernels() -> tuple[tvm.IRModule, tvm.IRModule]:
    torch.manual_seed(0)
    return lower_kernels(import_network(Block().eval(), torch.randn(1, 3, 20, 22)), JETSON)


def nvcc() -> bool:
    return any(True for _ in toolkit._candidates())


def test_convolutions_run_on_tensor_cores_and_windows_on_threads(kernels) -> None:
    rules = [rule_of(function) for function in kernels[1].functions.values() if isinstance(function, PrimFunc)]
    assert rules.count("tensor_cores") == 4
    assert rules.count("window") == 2
    assert rules.count("columns") == 1


def test_schedules_compute_what_the_kernels_did(kernels) -> None:
    checked = 0
    for function in kernels[0].functions.values():
        if not isinstance(function, PrimFunc):
            continue
        scheduled = tensor_cores.schedule_product(function, JETSON.gpu, loops())
        scheduled = scheduled or window.apply(function, JETSON.gpu) or columns.apply(function, JETSON.gpu)
        if scheduled is not None:
            inputs = random_inputs(function)
            expected = outcome(function, inputs)
            assert np.abs(outcome(as_loops(scheduled), inputs) - expected).max() <= 2e-3 * np.abs(expected).max()
            checked += 1
    assert checked == 7


@pytest.mark.parametrize("columns_", [8, 100, 1001])
def test_threads_divide_the_columns_of_a_long_sum_evenly(columns_: int) -> None:
    layer = nn.Sequential(nn.Linear(1280, columns_), nn.Hardswish()).eval()
    found = lower_kernels(import_network(layer, torch.randn(1, 1280)), JETSON)[1]
    texts = [each.script() for each in found.functions.values() if rule_of(each) == "columns"]
    assert len(texts) == 1
    extents = {int(extent) for extent in re.findall(r'T.int64\((\d+)\), thread="threadIdx.x"', texts[0])}
    assert len(extents) == 1
    assert columns_ % extents.pop() == 0


def test_what_parts_of_a_kernel_hand_over_is_planned_by_the_graph(kernels) -> None:
    long = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.Conv2d(64, 16, 3, padding=1)).eval()
    _, found = lower_kernels(import_network(long, torch.randn(1, 64, 8, 8)), JETSON)
    sliced = [each for each in found.functions.values() if isinstance(each, PrimFunc) and len(each.params) > 4]
    assert sliced
    for function in found.functions.values():
        if isinstance(function, PrimFunc):
            assert {str(each.ty.storage_scope) for each in function.body.block.alloc_buffers}.isdisjoint(
                {"", "global"}
            )
    plan_memory(found, cuda_graph=True)


def test_attention_in_float16_keeps_its_masks() -> None:
    class Attention(nn.Module):
        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            given = nn.functional.scaled_dot_product_attention
            first = given(x, x, x, is_causal=True)
            return given(first, x, x, attn_mask=mask) + given(first, x, x, attn_mask=self.fixed)

        fixed = torch.triu(torch.full((24, 24), -1e4))

    torch.manual_seed(0)
    inputs = (torch.randn(1, 2, 24, 16), torch.randn(1, 2, 24, 24))
    computed, _ = lower_kernels(import_network(Attention().eval(), inputs), JETSON)
    machine = tvm.relax.VirtualMachine(tvm.relax.build(computed, "llvm"), tvm.cpu())
    answer = machine["main"](*[tvm.runtime.tensor(each.numpy()) for each in inputs])
    expected = Attention()(*inputs).numpy()
    assert np.abs(answer.numpy() - expected).max() < 5e-3 * np.abs(expected).max()


@pytest.mark.parametrize("causal", ["TopLeft", "BottomRight"])
def test_a_computed_mask_in_float16_does_not_displace_the_causal_one(causal: str) -> None:
    generator = np.random.default_rng(0)
    sizes = ((1, 6, 2, 16), (1, 9, 2, 16), (1, 9, 2, 16), (1, 2, 6, 9))
    values = [generator.standard_normal(size, np.float32) for size in sizes]
    query, key, value, mask = map(torch.from_numpy, values)
    hidden = torch.ones(6, 9).triu(1 if causal == "TopLeft" else 4).bool()
    total = (mask + mask).masked_fill(hidden, -torch.inf)
    moved = (each.transpose(1, 2) for each in (query, key, value))
    expected = nn.functional.scaled_dot_product_attention(*moved, attn_mask=total).transpose(1, 2).numpy()
    module = to_half(masked_attention(sizes, causal_mask=causal))
    machine = tvm.relax.VirtualMachine(tvm.relax.build(module, "llvm"), tvm.cpu())
    answer = machine["main"](*map(tvm.runtime.tensor, values)).numpy()
    assert np.abs(answer - expected).max() < 5e-3 * np.abs(expected).max()


def test_attention_through_a_window_is_refused() -> None:
    with pytest.raises(CompileError, match="put the window in its mask"):
        to_half(masked_attention(((1, 6, 2, 16),) * 3 + ((1, 2, 6, 6),), window_size=3))


def masked_attention(sizes: tuple[tuple[int, ...], ...], **attributes: object) -> tvm.IRModule:
    """Attention over query, key and value, with twice the fourth input as its mask."""
    relax = tvm.relax
    inputs = [relax.Var(f"x{at}", relax.TensorType(size, "float32")) for at, size in enumerate(sizes)]
    builder = relax.BlockBuilder()
    with builder.function("main", inputs):
        with builder.dataflow():
            mask = builder.emit(relax.op.add(inputs[3], inputs[3]))
            output = builder.emit_output(relax.op.nn.attention(*inputs[:3], mask, **attributes))
        builder.emit_func_output(output)
    return builder.get()


def test_a_large_product_has_larger_tiles_than_a_small_one_and_all_fit_the_gpu() -> None:
    tiles = [tile_of(1, rows, 64, 576, JETSON.gpu) for rows in (64, 12544)]
    assert tiles[0].rows * tiles[0].columns < tiles[1].rows * tiles[1].columns
    assert all(tile.shared_bytes <= JETSON.gpu.shared_bytes for tile in tiles)


def test_all_kernels_but_the_first_and_the_last_are_launched_as_one_graph(kernels) -> None:
    planned, memory = plan_memory(kernels[1], cuda_graph=True)
    assert memory == plan_memory(kernels[1])[1]
    calls = {name: planned[name].script().count("fused_") for name in ("main", "main_cuda_graph_capture")}
    assert calls["main"] == 2
    assert calls["main_cuda_graph_capture"] >= 7
    assert "vm.builtin.cuda_graph.run_or_capture" in planned["main"].script()


@pytest.mark.skipif(not nvcc(), reason="no nvcc: `pip install 'understudy[cuda]'`")
def test_a_file_becomes_a_bundle_for_a_jetson(tmp_path: Path) -> None:
    path = tmp_path / "block.onnx"
    torch.onnx.export(Block().eval(), (torch.randn(1, 3, 20, 22),), path, dynamo=False, opset_version=17)
    bundled = compile_file(path, JETSON, tmp_path / "bundle", Display(make_console()), {})
    code = (bundled.folder / "student.so").read_bytes()
    assert code[18:20] == b"\xb7\x00"  # ELF's number of AArch64
    assert b".nv.info" in code  # a section of CUDA's machine code
    manifest = json.loads((bundled.folder / "manifest.json").read_text())
    assert manifest["target"]["gpu"] == "sm_87"
    assert any("neither checked nor timed" in note for note in bundled.notes)


def test_nvcc_of_python_packages_is_found_behind_an_installed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages, installed = (tmp_path / name for name in ("site-packages", "cuda"))
    for folder, known in ((packages / "nvidia" / "cu13", "compute_87"), (installed, "compute_90")):
        (folder / "bin").mkdir(parents=True)  # as the wheel nvidia-cuda-nvcc lays it out
        (folder / "bin" / "nvcc").write_text(f"#!/bin/sh\necho {known}\n")
        (folder / "bin" / "nvcc").chmod(0o755)
    monkeypatch.setattr(toolkit.sysconfig, "get_path", lambda _: str(packages))
    monkeypatch.setenv("CUDA_HOME", str(installed))
    monkeypatch.setenv("PATH", str(tmp_path))
    found = list(toolkit._candidates())
    assert (found[0], found[-1]) == (installed / "bin" / "nvcc", packages / "nvidia" / "cu13" / "bin" / "nvcc")
    monkeypatch.setattr(toolkit, "_candidates", lambda: iter((found[0], found[-1])))
    assert toolkit._nvcc_for(JETSON.gpu) == found[-1]
    with pytest.raises(CompileError, match=r"does not build for sm_72 .*CUDA_HOME"):
        toolkit._nvcc_for(load_profile("jetson-xavier-nx").gpu)


def test_kernels_of_a_gpu_are_not_tuned(tmp_path: Path) -> None:
    quiet = QuietCores(tmp_path / "lock")
    with pytest.raises(MeasureError, match=r"not tuned.*leave out --tune"):
        compile_tuned(tvm.IRModule(), JETSON, tmp_path / "student.so", TuningRequest(1), quiet)
    with pytest.raises(ConfigError, match=r"jetson-orin-nano.*leave out --tune"):
        check_names(SearchConfig(data="digits", profile=(JETSON.name,), tune=1.0))


def test_without_a_toolkit_for_the_gpu_the_user_hears_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    nano = load_profile("jetson-nano").gpu
    assert nano is not None
    monkeypatch.setattr(toolkit, "_candidates", lambda: iter(()))
    with pytest.raises(CompileError, match=r"needs nvcc .*understudy"):
        toolkit.use_nvcc(nano)
