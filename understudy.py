"""What every package of Understudy shares: the version, the error tree, and name suggestions.

The error tree (whatever a user can cause or mend is an ``UnderstudyError``)::

    UnderstudyError
    ├── ConfigError      an option, key or file of the configuration is wrong
    ├── DataError        the user's data cannot be used
    ├── TeacherError     the teacher cannot be loaded or does not fit the data
    ├── SpaceError       a space or a choice is unknown or cannot be built
    ├── ProfileError     a hardware profile is unknown or invalid
    ├── CompileError     a network cannot be exported, compiled or verified
    ├── MeasureError     a compiled student cannot be run or timed
    │   └── DeviceLost   there is no device to run it: the student is not at fault
    ├── TrainError       training went wrong (NaN, no improvement possible)
    ├── RunError         a run folder exists, is missing, or cannot be written or read
    └── BundleError      a bundle is incomplete, altered or of another target
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__version__ = "0.1.0"


class UnderstudyError(Exception):
    """Something the user can mend. The text says what is wrong, where, and what to do."""


class ConfigError(UnderstudyError):
    """An option, key or file of the configuration is wrong."""


class DataError(UnderstudyError):
    """The user's data cannot be used."""


class TeacherError(UnderstudyError):
    """The teacher cannot be loaded or does not fit the data."""


class SpaceError(UnderstudyError):
    """A space or a choice is unknown or cannot be built."""


class ProfileError(UnderstudyError):
    """A hardware profile is unknown or invalid."""


class CompileError(UnderstudyError):
    """A network cannot be exported, compiled or verified."""


class MeasureError(UnderstudyError):
    """A compiled student cannot be run or timed."""


class DeviceLost(MeasureError):  # noqa: N818 (what happened, as ConnectionLost would be)
    """There is no device to run a student on: none answers, or none is free. The student is not at fault."""


class TrainError(UnderstudyError):
    """Training went wrong."""


class RunError(UnderstudyError):
    """A run folder exists, is missing, or cannot be written or read."""


class BundleError(UnderstudyError):
    """A bundle is incomplete, altered or made for another target."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Sentence for an unknown name, with the nearest valid one.

    >>> unknown_name("space", "mobil", ["mobile", "residual"])
    "unknown space 'mobil': did you mean 'mobile'? Known: mobile, residual"
    """
    valid = sorted(known)
    near = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    hint = f": did you mean {near[0]!r}?" if near else "."
    return f"unknown {kind} {name!r}{hint} Known: {', '.join(valid)}"
