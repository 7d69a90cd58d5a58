"""A bundle's program for devices without Python: ``runner.cc`` built here for the device, with the TVM runtime."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from results.bundle.tvm_runtime import CUDA, RUNTIME, include_folder, runtime_files
from results.bundle.zig import zig
from understudy import BundleError

PROGRAM, SOURCE, COMMAND = "run", "run.cc", "build.sh"
_SOURCE = Path(__file__).with_name("runner.cc")
_OPTIONS = ["-std=c++17", "-O2", "-ffp-contract=off", "-fvisibility=hidden"]
"""Uncontracted, so that it rounds as numpy does and gives the same input for an image. Hidden, because zig's C++
library is linked into it while the runtime uses the system's."""
_TIMEOUT_S = 600


@dataclass(frozen=True)
class Machine:
    """What a program is built for: Linux on ``isa``, with TVM's CUDA runtime or without."""

    isa: str
    cuda: bool

    @classmethod
    def of_profile(cls, facts: Mapping[str, Any]) -> Machine:
        """The machine of a profile's facts, as a run records them."""
        return cls(facts["isa"], facts.get("gpu") is not None)


def add_program(folder: Path, machine: Machine) -> None:
    """Put the program, its source, the command that built it and the TVM runtime with its licences into a folder.

    Raises ``BundleError`` when the runtime cannot be had or the program cannot be built.
    """
    for name, source in runtime_files(machine.isa).items():
        if machine.cuda or name != CUDA:
            shutil.copyfile(source, folder / name)
    shutil.copyfile(_SOURCE, folder / SOURCE)
    _build(folder, machine.isa)
    (folder / PROGRAM).chmod(0o755)
    (folder / COMMAND).write_text(_command(machine.isa))
    (folder / COMMAND).chmod(0o755)


def _build(folder: Path, isa: str) -> None:
    command = [*_compiler(isa), *_OPTIONS, f"-I{include_folder()}", *_inputs()]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        said = done.stderr.strip().splitlines()[:1] if done.returncode else []
    except (OSError, subprocess.TimeoutExpired) as error:
        said = [str(error)]
    if said:
        raise BundleError(f"cannot build the program of the bundle ({said[0]}): `pip install ziglang`, or set CXX")


def _compiler(isa: str) -> list[str]:
    """The system's compiler for this computer, where there is one: zig would build its C++ library first."""
    own = shutil.which(os.environ.get("CXX") or "g++")
    return [own] if own and isa == platform.machine() else zig("c++", isa)


def _inputs() -> list[str]:
    return [SOURCE, "-Wl,--no-as-needed", *RUNTIME, "-Wl,-rpath,$ORIGIN", "-s", "-o", PROGRAM]


def _command(isa: str) -> str:
    compiler = " ".join("python3" if part == sys.executable else part for part in _compiler(isa))
    inputs = " ".join(f"'{each}'" if "$" in each else each for each in _inputs())
    pins = " ".join(f"{package}=={metadata.version(package)}" for package in ("ziglang", "apache-tvm-ffi"))
    return _COMMAND.format(pins=pins, compiler=compiler, options=" ".join(_OPTIONS), inputs=inputs)


_COMMAND = """#!/bin/sh
# The command that built `run`. Its Python packages: pip install {pins}
# On the device itself, g++ does as well as any compiler for it.
cd "$(dirname "$0")" &&
exec {compiler} {options} $(python3 -m tvm_ffi.config --cxxflags) {inputs}
"""
