"""Machine code of scheduled kernels: an object file for each, compiled side by side, and none of them twice."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.ir import GlobalVar
from tvm.relax import vm_build
from tvm.tirx import PrimFunc

from evaluators.compile import llvm_text, vector_math
from evaluators.compile.objects import Objects
from evaluators.compile.vector_math import PIPELINE

OPTIMISATION = 2
"""LLVM's level. The rules vectorise and unroll already: 3 takes a quarter longer for the same speed, while 1 would
leave the kernels of the fallback without LLVM's own vectors."""

CONTENT = "understudy_content"
"""Attribute of a scheduled kernel: a hash of all that it computes and how, but for its name."""

_GRAPH_NAME = re.compile(r'"lv\d*')
"""Variables of the graph, after which parameters of kernels are named."""


def machine_of(target: Mapping[str, object]) -> tvm.target.Target:
    """The target as all code is compiled for it."""
    return tvm.target.Target({**target, "opt-level": OPTIMISATION})


def name_by_content(*modules: tvm.IRModule) -> tuple[tvm.IRModule, ...]:
    """Modules with the same kernels, of which the last has them scheduled, with names that say what is in them.

    So a kernel has the same name, and its machine code the same symbols, in whatever network it is.
    """
    *_, scheduled = modules
    renamed: dict[GlobalVar, GlobalVar] = {}
    content: dict[str, str] = {}
    by_name: dict[str, GlobalVar] = {}
    for variable, function in scheduled.functions_items():
        if isinstance(function, PrimFunc):
            digest = _content(function)
            name = re.sub(r"\d+(?=_|$)", "", variable.name_hint) + str(int(digest[:12], 16))
            if name not in by_name:
                by_name[name] = GlobalVar(name)
                relax.expr._update_type(by_name[name], variable.ty)
            renamed[variable], content[name] = by_name[name], digest
    return tuple(_renamed(module, renamed, content) for module in modules)


def _content(function: PrimFunc) -> str:
    attributes = function.attrs or {}
    if "global_symbol" in attributes:
        function = function.without_attr("global_symbol")
    return hashlib.sha256(_GRAPH_NAME.sub('"lv', tvm.ir.save_json(function)).encode()).hexdigest()


def _renamed(
    module: tvm.IRModule, renamed: Mapping[GlobalVar, GlobalVar], content: Mapping[str, str]
) -> tvm.IRModule:
    functions = {}
    for variable, function in module.functions_items():
        if variable in renamed:
            name = renamed[variable].name_hint
            symbol = "global_symbol" in (function.attrs or {})
            function = function.with_attr("global_symbol", name) if symbol else function
            functions[renamed[variable]] = function.with_attr(CONTENT, content[name])
        else:
            known = (GlobalVar, lambda found: renamed.get(found, found))
            functions[variable] = tvm_ffi.structural_map(function, known)
    return tvm.IRModule(functions, attrs=module.attrs)


def executable_of(
    planned: tvm.IRModule, target: Mapping[str, object], objects: Objects | None
) -> tvm.runtime.Executable:
    """The graph for TVM's virtual machine, and the machine code of its kernels: known, or compiled now and kept.

    The kernels do not check the shapes of their arguments, which took half of
    the code: ``main`` checks its input, and the shapes behind it are fixed.
    """
    kernels = {v: f for v, f in planned.functions_items() if isinstance(f, PrimFunc)}
    keys = {variable: _key(variable.name_hint, function, target) for variable, function in kernels.items()}
    codes = objects.read(sorted(keys.values())) if objects is not None else {}
    missing = [variable for variable in kernels if keys[variable] not in codes]
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        compiled = _compiled({variable: kernels[variable] for variable in missing}, target, Path(folder))
        new = {keys[variable]: code for variable, code in compiled.items()}
        if objects is not None and new:
            objects.store(new)
        codes = {**codes, **new}
        libraries = []
        for number, variable in enumerate(kernels):
            path = Path(folder) / f"{number}.o"
            path.write_bytes(codes[keys[variable]])
            libraries.append(tvm.runtime.load_static_library(str(path), [variable.name_hint]))
    builder = relax.ExecBuilder()
    vm_build._vmcodegen(builder, planned)
    return vm_build._vmlink(builder, machine_of(target), None, ext_libs=libraries)


def _compiled(
    kernels: Mapping[GlobalVar, PrimFunc], target: Mapping[str, object], folder: Path
) -> dict[GlobalVar, bytes]:
    """The object code of each kernel, by as many threads as there are cores: LLVM does not hold Python's lock.

    Files are numbered: the name of a kernel of much that was fused is longer than a file's can be.
    """

    def compiled(number: int, variable: GlobalVar) -> bytes:
        machine = machine_of(target)
        path = folder / f"compiled-{number}.o"
        with machine, tvm.transform.PassContext(opt_level=3, config={"tirx.disable_assert": True}):
            module = tvm.IRModule({variable: kernels[variable]})
            tirx.build(module, target=machine, pipeline=PIPELINE).write_to_file(str(path))
        return path.read_bytes()

    if not kernels:
        return {}
    with ThreadPoolExecutor(min(len(kernels), len(os.sched_getaffinity(0)))) as threads:
        return dict(zip(kernels, threads.map(compiled, itertools.count(), kernels), strict=True))


def _key(name: str, kernel: PrimFunc, target: Mapping[str, object]) -> str:
    """What machine code depends on: the kernel and its name, the target, the compiler."""
    content = str((kernel.attrs or {}).get(CONTENT) or _content(kernel))
    facts = [name, content, sorted(target.items()), OPTIMISATION, _compiler()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


@cache
def _compiler() -> str:
    """TVM's and LLVM's versions, and a hash of our own sources that come after scheduling."""
    digest = hashlib.sha256()
    for path in (__file__, vector_math.__file__, llvm_text.__file__):
        digest.update(Path(path).read_bytes())
    return f"{tvm.__version__} {tvm.target.codegen.llvm_version_major()} {digest.hexdigest()}"
