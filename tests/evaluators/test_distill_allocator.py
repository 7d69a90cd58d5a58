from __future__ import annotations

import platform

from evaluators.distill.allocator import keep_freed_memory


def test_glibc_is_told_and_others_are_left_alone():
    assert keep_freed_memory() is (platform.libc_ver()[0] == "glibc")
