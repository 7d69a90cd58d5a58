"""Freed memory kept for the next step instead of handed back to the system."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT = 1 << 30


def keep_freed_memory() -> bool:
    """Tell glibc to reuse large blocks; call it once in a process that trains on the CPU.

    By default every tensor of more than 128 kB may be mapped anew, and clearing its pages can take a third of a
    training step. Costs at most 1 GiB of memory held back, for the whole process. False where the C library
    is another and nothing was changed.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(what, _KEPT) for what in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))
