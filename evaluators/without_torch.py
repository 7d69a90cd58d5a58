"""Processes that build, run or time compiled kernels only, and have no use for torch."""

from __future__ import annotations

import sys


def keep_torch_out() -> None:
    """Make ``import torch`` fail from now on in this process, as where it is not installed.

    TVM imports torch where it finds it: two seconds and 200 MB a process. No effect where it is there already.
    """
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
