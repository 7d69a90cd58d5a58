"""Machine code that tests keep is their own; searches are tested by one process, one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

# TVM's threads wait by yielding their turn 300,000 times: minutes on processors that other tests keep busy.
os.environ.setdefault("TVM_THREAD_POOL_SPIN_COUNT", "0")


@pytest.fixture(scope="session", autouse=True)
def _own_objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    path: Path = tmp_path_factory.mktemp("objects") / "objects.sqlite"
    os.environ["UNDERSTUDY_OBJECTS"] = str(path)
    yield
    del os.environ["UNDERSTUDY_OBJECTS"]


class _SearchesTogether(LoadFileScheduling):
    """A file's tests go to one process, and those of ``tests/search`` all to the first.

    They share a teacher and a finished search, and two searches at once would wait for each other's measurements.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "tests/search" if nodeid.startswith("tests/search/") else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _SearchesTogether:
    """How tests are shared out by ``-n``."""
    return _SearchesTogether(config, log)
