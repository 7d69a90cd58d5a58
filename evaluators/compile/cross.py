"""Linking for another instruction set than this computer's, with no toolchain of the system: zig's C compiler."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

LIBC = "2.28"
"""The C library that linked students need at least: Debian 10's, older than any 64-bit Raspberry Pi OS."""


class ZigLinker:
    """Links objects for ``isa`` into a shared library; what TVM's ``export_library`` takes as ``fcompile``.

    The first link for an instruction set takes about 20 seconds (zig builds its C library), later ones under one.
    """

    output_format = "so"

    def __init__(self, isa: str) -> None:
        self._target = f"{isa}-linux-gnu"

    def get_target_triple(self) -> str:
        """The triple that TVM compiles its own part of the library for."""
        return self._target

    def __call__(self, output: str, objects: Sequence[str], options: Sequence[str] = ()) -> None:
        """Link; raises ``RuntimeError`` with what zig says."""
        command = [sys.executable, "-m", "ziglang", "cc", "-target", f"{self._target}.{LIBC}", "-shared", "-fPIC"]
        done = subprocess.run(
            [*command, "-o", output, *objects, *(options or ())], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip() or f"zig ended with {done.returncode}")
