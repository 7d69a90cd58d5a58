"""The classes of a student and of the data that come later, made one list."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy import DataError


@dataclass(frozen=True)
class Classes:
    """``labels``: the student's, in their order, then those that are new.

    ``mapping[i]`` is the place in ``labels`` of the later data's class i; ``known`` is how many the student had.
    """

    labels: tuple[str, ...]
    known: int
    mapping: NDArray[np.int64]

    @property
    def new(self) -> tuple[str, ...]:
        """The classes that the student does not know yet."""
        return self.labels[self.known :]

    @property
    def absent(self) -> tuple[str, ...]:
        """The student's classes of which the later data have nothing."""
        return tuple(name for place, name in enumerate(self.labels[: self.known]) if place not in self.mapping)


def join_classes(before: Sequence[str], later: Sequence[str]) -> Classes:
    """The student's classes and those of the later data, matched by name.

    Raises ``DataError`` when the later data have numbers where the student has names, or a name that differs
    from one of the student's only in how it is written: nobody would want two classes of these.
    """
    if all(name.isdecimal() for name in later) and not any(name.isdecimal() for name in before):
        raise DataError(
            f"the classes of the new data are numbers ({_some(later)}), but the student's are names "
            f"({_some(before)}): name the new data's classes too (class folders, or class_names in an .npz file)"
        )
    written = {_plain(name): name for name in before}
    for name in later:
        if name not in before and _plain(name) in written:
            raise DataError(
                f"class {name!r} of the new data is written as {written[_plain(name)]!r} in the student's: "
                "use the same name for the same class"
            )
    labels = tuple(dict.fromkeys([*before, *later]))
    return Classes(labels, len(before), np.array([labels.index(name) for name in later], np.int64))


def _plain(name: str) -> str:
    """Without case, and without what joins words: ``Traffic_Light`` is ``traffic light``, ``C`` is not ``C++``."""
    return re.sub(r"(?<=[^\W_])[\s_-]+(?=[^\W_])", "", name.strip().casefold())


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
