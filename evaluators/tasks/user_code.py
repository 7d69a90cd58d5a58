"""The one way in which code that is not ours runs: ``file.py:function``, named by the user."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from understudy import UnderstudyError, unknown_name


def user_function(spec: str, problem: type[UnderstudyError]) -> Callable[..., Any]:
    """The function of ``file.py:function``; raises ``problem`` when it cannot be had."""
    file, _, name = spec.rpartition(":")
    path = Path(file).expanduser()
    if not path.is_file():
        raise problem(f"there is no file {path} (from {spec!r}): check the path")
    module_spec = importlib.util.spec_from_file_location(path.stem, path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:  # the user's own code may raise anything
        raise problem(f"{path} cannot be run ({type(error).__name__}: {error}): mend it") from error
    function = vars(module).get(name)
    if not callable(function):
        names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise problem(f"{path} has no such function: {unknown_name('function', name, names)}")
    return function  # type: ignore[no-any-return]
