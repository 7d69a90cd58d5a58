"""Options built side by side in child processes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from evaluators.compile.choices import Choice
from evaluators.compile.tune.build import build_option, nothing
from evaluators.compile.tune.cases import Case
from evaluators.compile.tune.child import START_S, Child, ChildDiedError, ChildRaisedError
from evaluators.compile.tune.schedule_search import Found
from hw_profiles.profile import Profile

Job = tuple[Case, Choice | Found, Path]
"""A kernel, the option or the schedule to build it with, and the library to write."""

_NO_FAULT = re.compile("^(RunError|OSError|MemoryError)|cannot link")
"""Errors for which no option is to blame: a full disk, no linker."""

BUILD_S = 20.0
"""Seconds after which a build is given up: the usual one takes 0.2."""


class Builders:
    """``count`` child processes, each building one option at a time."""

    def __init__(self, profile: Profile, count: int) -> None:
        self._profile = profile
        self.count = count
        self._children = [Child() for _ in range(count)]

    def get_ready(self) -> None:
        """Wait until the processes run, so that their start takes no time from the search."""
        for child in self._children:
            child.send(nothing, limit_s=BUILD_S)
        for child in self._children:
            with suppress(ChildDiedError):  # it is started again by the first build
                child.receive(BUILD_S)

    def build(self, jobs: Sequence[Job], end: float) -> list[int | str]:
        """For each job how often its library runs the kernel in one call, or why there is no library.

        What is not ready at ``end`` (by ``time.monotonic``) is killed. Its answer is empty, as no option is to
        blame for that; one that takes longer than any build may is ``late``.
        """
        answers: list[int | str] = []
        for at in range(0, len(jobs), len(self._children)):
            some = jobs[at : at + len(self._children)]
            answers += self._side_by_side(some, end) if time.monotonic() < end else [""] * len(some)
        return answers

    def _side_by_side(self, jobs: Sequence[Job], end: float) -> list[int | str]:
        pairs = list(zip(self._children, jobs, strict=False))
        for child, _ in pairs:
            child.start()
        for child, (case, option, library) in pairs:
            child.send(build_option, case, option, self._profile, library, limit_s=BUILD_S)
        return [_answer(child, end) for child, _ in pairs]

    def each(self, function: Callable[..., Any], calls: Sequence[tuple[object, ...]], limit_s: float) -> list[Any]:
        """The function's answer to each of the arguments, as many side by side as there are processes.

        None where there is none within ``limit_s`` or what is asked crashes or raises.
        """
        answers: list[Any] = []
        for at in range(0, len(calls), self.count):
            asked: list[Child | None] = []
            for child, arguments in zip(self._children, calls[at : at + self.count], strict=False):
                try:
                    child.send(function, *arguments, limit_s=limit_s)
                    asked.append(child)
                except ChildDiedError:
                    asked.append(None)
            end = time.monotonic() + limit_s
            answers += [None if child is None else _received(child, end) for child in asked]
        return answers

    def close(self) -> None:
        """End the processes."""
        for child in self._children:
            child.close()


def _received(child: Child, end: float) -> Any:
    try:
        return child.receive(max(0.0, end - time.monotonic()), start_s=0)
    except (ChildRaisedError, ChildDiedError):
        return None


def _answer(child: Child, end: float) -> int | str:
    left = max(0.0, end - time.monotonic())
    limit_s = min(left, BUILD_S)
    try:
        copies: int = child.receive(limit_s, start_s=min(left - limit_s, START_S))
        return copies
    except ChildRaisedError as error:
        return "" if _NO_FAULT.search(str(error)) else f"refused: {error}"
    except ChildDiedError as error:
        if error.late:
            return "late" if limit_s == BUILD_S else ""
        return "crashed"
