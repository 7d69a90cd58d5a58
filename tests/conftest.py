"""What tests keep and wait for is their own; searches are tested by two processes, beside all else."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

# TVM's threads wait by yielding their turn 300,000 times: minutes on processors that other tests keep busy.
os.environ.setdefault("TVM_THREAD_POOL_SPIN_COUNT", "0")


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """All processes of the tests share machine code; each has its own gate between measuring and other work.

    What one measures says nothing, since the others go on, but none has to wait for them.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="us-") as folder:
        patch.setenv("UNDERSTUDY_OBJECTS", str(shared / "objects.sqlite"))
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


FIRST = ("tests/search/", "tests/spaces/", "tests/results/")
"""Folders whose files take longest, so that the last to be begun are short."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first."""
    places = {folder: place for place, folder in enumerate(FIRST)}
    items.sort(key=lambda item: places.get("/".join(item.nodeid.split("/")[:2]) + "/", len(FIRST)))


SHARING = ("test_cli", "test_finals", "test_kill", "test_main_job", "test_update")
"""Files of ``tests/search`` that look at one finished search, or make ones like it."""


class _SearchesTogether(LoadFileScheduling):
    """A file's tests go to one process, and those of ``tests/search`` to two, which begin first and end last.

    One after the other they share a teacher and a finished search.
    """

    def _split_scope(self, nodeid: str) -> str:
        if not nodeid.startswith("tests/search/"):
            return super()._split_scope(nodeid)
        return f"tests/search, {Path(nodeid.partition('::')[0]).stem in SHARING}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _SearchesTogether:
    """How tests are shared out by ``-n``."""
    return _SearchesTogether(config, log)
