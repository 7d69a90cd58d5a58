"""zig as a C and C++ compiler for any processor, with no toolchain of the system."""

from __future__ import annotations

import sys

LIBC = "2.28"
"""The C library that what it links needs at least: Debian 10's, older than any 64-bit Raspberry Pi OS."""


def zig(language: str, isa: str) -> list[str]:
    """The command that compiles ``cc`` or ``c++`` for Linux on ``isa``; files and options come behind it.

    The first use for an instruction set takes about 20 seconds (zig builds its libraries), later ones under one.
    """
    return [sys.executable, "-m", "ziglang", language, "-target", f"{isa}-linux-gnu.{LIBC}"]
