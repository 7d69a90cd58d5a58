"""What a compiled network really holds: run in a process of its own, which has the runtime and nothing else."""

from __future__ import annotations

import ctypes
import gc
import os
from dataclasses import dataclass
from pathlib import Path

from results.bundle.runner import Array, CompiledStudent


@dataclass(frozen=True)
class Held:
    """Bytes by which the process grew: of its own memory (``RssAnon``) after loading and after two inferences, and
    at its highest, pages of the library's file included (``VmHWM``)."""

    loaded: int
    running: int
    highest: int


def held(library: Path, inputs: tuple[Array, ...], threads: int, first: Path, first_input: Array) -> Held:
    """Load a network and run it twice, after ``first``, a small one that starts the runtime and its threads.

    What loading freed is given back to the system before the network runs, so that it hides nothing.
    """
    os.environ["TVM_USE_RUNTIME_LIB"] = "1"
    CompiledStudent(first, threads)(first_input)
    _give_back()
    Path("/proc/self/clear_refs").write_text("5")
    own, highest = _status("RssAnon"), _status("VmHWM")
    student = CompiledStudent(library, threads)
    _give_back()
    loaded = _status("RssAnon")
    for _ in range(2):
        student(*inputs)
    return Held(loaded - own, _status("RssAnon") - own, _status("VmHWM") - highest)


def _give_back() -> None:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def _status(name: str) -> int:
    """A figure of the kernel about this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {name}: Linux 4.5 or later is needed")
