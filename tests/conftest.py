"""Machine code that tests keep is their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    path: Path = tmp_path_factory.mktemp("objects") / "objects.sqlite"
    os.environ["UNDERSTUDY_OBJECTS"] = str(path)
    yield
    del os.environ["UNDERSTUDY_OBJECTS"]
