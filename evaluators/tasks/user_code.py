"""The one way in which code that is not ours runs: ``file.py:function``, named by the user."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from spaces.user_file import neighbours, user_module
from understudy import UnderstudyError, unknown_name


def user_function(spec: str, problem: type[UnderstudyError]) -> Callable[..., Any]:
    """The function of ``file.py:function``; raises ``problem`` when it cannot be had.

    The modules beside its file can be imported while the file runs and while the function does.
    """
    file, _, name = spec.rpartition(":")
    path = Path(file).expanduser()
    if not path.is_file():
        raise problem(f"there is no file {path} (from {spec!r}): check the path")
    module = user_module(path, problem)
    function = vars(module).get(name)
    if not callable(function):
        names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise problem(f"{path} has no such function: {unknown_name('function', name, names)}")

    @wraps(function)
    def called(*arguments: Any, **named: Any) -> Any:
        with neighbours(path):
            return function(*arguments, **named)

    return called
