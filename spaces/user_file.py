"""A Python file of the user's, run as a module that can import its neighbours."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from understudy import UnderstudyError


def user_module(path: Path, problem: type[UnderstudyError]) -> ModuleType:
    """The module of an existing Python file, run once a process for each of its contents.

    It is found in ``sys.modules`` under a name of its own, where dataclasses and pickle look classes up. Raises
    ``problem`` when it is no Python file, or raises something itself.
    """
    content = str(path.resolve()).encode() + path.read_bytes()
    name = f"understudy_user_{hashlib.sha256(content).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise problem(f"{path} is no Python file: name one that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with neighbours(path):
            spec.loader.exec_module(module)
    except Exception as error:  # a user's file may raise anything
        sys.modules.pop(name, None)
        raise problem(f"{path} cannot be run: it raised {type(error).__name__}: {error}") from error
    return module


@contextmanager
def neighbours(path: Path) -> Iterator[None]:
    """The modules beside a file can be imported inside, as if it were run as a script."""
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:  # the user's code may have seen to it
            sys.path.remove(folder)
