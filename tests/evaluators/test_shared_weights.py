"""The programs of a network that goes on with texts: one library, and ONNX files, that hold the weights once."""

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn
from tvm.rpc.client import LocalSession

from evaluators.boards.remote import _Student
from evaluators.compile.compiler import Compiled, link_kernels, lower_programs
from evaluators.compile.importers.network_file import open_network
from evaluators.compile.products import Product, _cycles_by_columns, shared_columns
from evaluators.compile.together import joined
from evaluators.compile.verify import compare, expected_outputs
from evaluators.latency.host import HostDevice
from evaluators.onnx_shared import share_weights
from evaluators.onnx_twin import check_twin, write_twin
from evaluators.programs import PREFILL, Program, programs_of
from evaluators.quantise.integer import delivered
from evaluators.quantise.onnx_file import import_student
from evaluators.quantise.precision import Precision
from hw_profiles.profile import load_profile
from results.bundle.runner import BundleProblem, CompiledStudent
from spaces.batch import parts
from spaces.catalogue import load_space
from spaces.choice import Choice

HOST = load_profile("x86-host").with_threads(1)
TOKENS, WINDOW = 2001, 24
CHOICE = Choice({"embedding": 32, "width": 64, "heads": 2, "feed": 2, "layers": 2})
CODE = 130_000
"""Bytes that machine code and what the linker adds may take."""
BITS = {"none": 32, "int8-weights": 8, "int4-weights": 4}


@pytest.fixture(scope="module", params=BITS)
def student(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[nn.Module, tuple[Program, ...], Compiled, int]:
    """A network, its programs compiled, and the bytes of its weights."""
    torch.manual_seed(0)
    space = load_space("language", channels=TOKENS, image_size=WINDOW, classes=TOKENS, tokens=True, dense=True)
    network = space.build(CHOICE).eval()
    matrices = {name: each for name, each in network.named_parameters() if each.ndim == 2 and "places" not in name}
    many = sum(each.numel() for each in matrices.values())
    other = sum(each.numel() for each in network.parameters()) - many
    ids = torch.randint(1, TOKENS, (2, WINDOW), generator=torch.Generator().manual_seed(1))
    if request.param != "none":
        Precision.of(request.param, [HOST]).prepare(network, CHOICE, ids)
    network = delivered(network)
    programs = programs_of(network, ids)
    modules = [import_student(each.network, each.example, each.ins, each.outs) for each in programs]
    scheduled = [kernels for _, kernels in lower_programs(modules, HOST)]
    named = {each.function: kernels for each, kernels in zip(programs, scheduled, strict=True)}
    library = tmp_path_factory.mktemp(request.param) / "student.so"
    compiled = link_kernels(joined(named), HOST, library)
    scales = 0 if request.param == "none" else 4 * 6 * TOKENS
    return network, programs, compiled, many * BITS[request.param] // 8 + other * 4 + scales


def test_both_programs_agree_with_torch(student: tuple[nn.Module, tuple[Program, ...], Compiled, int]) -> None:
    _, programs, compiled, _ = student
    device = HostDevice(HOST, limit_s=0.05)
    for program in (*programs, programs[0]):
        arrays = tuple(part.numpy() for part in parts(program.inputs))
        expected = expected_outputs(program.network, *parts(program.inputs))
        assert compare(expected, device.run(compiled.library, arrays, program.function)) < 1e-5
    arrays = tuple(part.numpy() for part in parts(programs[1].inputs))
    assert device.measure(compiled.library, arrays, PREFILL).value > 0
    there = _Student(LocalSession(), compiled.library.read_bytes(), f"{compiled.size_bytes}.so", False)
    there.program = PREFILL
    there.get_ready(arrays)
    assert there.seconds(1) > 0
    compare(expected_outputs(programs[1].network, *parts(programs[1].inputs)), there(*arrays))


def test_the_weights_are_held_once(student: tuple[nn.Module, tuple[Program, ...], Compiled, int]) -> None:
    _, _, compiled, weights = student
    assert weights < compiled.size_bytes < weights + CODE
    assert weights < compiled.memory_bytes < weights + 270_000


def test_onnx_files_read_one_file_of_weights(
    student: tuple[nn.Module, tuple[Program, ...], Compiled, int], tmp_path: Path
) -> None:
    _, programs, _, _ = student
    files = [tmp_path / f"{program.name}.onnx" for program in programs]
    for program, file in zip(programs, files, strict=True):
        write_twin(program.network, parts(program.example), file, program.ins, program.outs)
    alone = sum(file.stat().st_size for file in files)
    share_weights(files, tmp_path / "student.onnx.data")
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 0.65 * alone
    for program, file in zip(programs, files, strict=True):
        assert file.stat().st_size < 60_000
        onnx.checker.check_model(str(file))
        check_twin(file, program.network, parts(program.example), program.ins, program.outs)
        found = open_network(file, {}).expected(tuple(part.numpy() for part in parts(program.example)))
        compare(expected_outputs(program.network, *parts(program.example)), found)


def test_a_library_without_the_program_says_so(
    student: tuple[nn.Module, tuple[Program, ...], Compiled, int],
) -> None:
    with pytest.raises(BundleProblem, match=r"student\.so has no program 'other'"):
        CompiledStudent(student[2].library, 1).program("other")


@pytest.mark.parametrize("profile", ["x86-64-avx512", "x86-64-avx2", "rpi5"])
@pytest.mark.parametrize("size", [(32, 64), (64, 192), (256, 768), (1024, 256)])
@pytest.mark.parametrize("narrow", [False, True])
def test_a_packing_for_one_row_and_for_many_slows_neither_much(
    profile: str, narrow: bool, size: tuple[int, int]
) -> None:
    target = load_profile(profile).with_threads(1)
    products = [Product(rows, *size, narrow=narrow) for rows in (1, 128)]
    columns = shared_columns(products, target)
    one, many = (_cycles_by_columns(product, target) for product in products)
    assert one[columns] < 1.1 * min(one.values())
    assert many[columns] < (1.1 if narrow else 1.35) * min(many.values())
