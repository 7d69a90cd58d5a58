"""Linking for another instruction set than this computer's, with no toolchain of the system: zig's C compiler."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from results.bundle.zig import zig


class ZigLinker:
    """Links objects for ``isa`` into a shared library; what TVM's ``export_library`` takes as ``fcompile``."""

    output_format = "so"

    def __init__(self, isa: str) -> None:
        self._isa = isa

    def get_target_triple(self) -> str:
        """The triple that TVM compiles its own part of the library for."""
        return f"{self._isa}-linux-gnu"

    def __call__(self, output: str, objects: Sequence[str], options: Sequence[str] = ()) -> None:
        """Link; raises ``RuntimeError`` with what zig says."""
        command = [*zig("cc", self._isa), "-shared", "-fPIC"]
        done = subprocess.run(
            [*command, "-o", output, *objects, *(options or ())], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip() or f"zig ended with {done.returncode}")
