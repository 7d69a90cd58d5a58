"""The kernel database, with real files and real processes."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from evaluators.compile.choices import KernelKey
from evaluators.compile.tune.database import VARIABLE, Database, chooser, default_path, target_of
from evaluators.latency.race import Lap
from hw_profiles.profile import load_profile

KEY = KernelKey("dense", (("m", 1), ("k", 8)))
OPTIONS = ({"rows": 1}, {"rows": 2}, {"rows": 3})


def lap(relative: float, repeats: int = 20) -> Lap:
    return Lap(1e-5 * relative, 1e-5 * relative, 1e-5 * relative, repeats, relative)


def chosen(database: Database) -> object:
    return chooser(database.read("here"))(KEY, OPTIONS)


def test_the_fastest_option_is_chosen_where_it_beats_noise(tmp_path: Path) -> None:
    database = Database(tmp_path / "cache" / "kernels.sqlite")
    assert chosen(database) == OPTIONS[0]
    database.store("here", KEY, {"rows=1": lap(1.0), "rows=2": lap(0.995)})
    assert chosen(database) == OPTIONS[0]
    database.store("here", KEY, {"rows=2": lap(0.9), "rows=3": lap(0.8), "rows=9": lap(0.1)})
    assert chosen(database) == OPTIONS[2]
    assert chooser(database.read("elsewhere"))(KEY, OPTIONS) == OPTIONS[0]


def test_better_evidence_replaces_worse_and_faults_are_never_chosen(tmp_path: Path) -> None:
    database = Database(tmp_path / "kernels.sqlite")
    database.store("here", KEY, {"rows=2": lap(0.8, 40), "rows=3": Lap(fault="wrong")})
    database.store("here", KEY, {"rows=2": lap(1.5, 3)})
    known = database.read("here")[str(KEY)]
    assert known["rows=2"] == lap(0.8, 40)
    assert known["rows=3"].fault == "wrong"
    assert chosen(database) == OPTIONS[1]


@pytest.mark.parametrize("how", ["corrupt", "a folder", "unwritable", "full"])
def test_a_file_that_cannot_be_used_harms_nothing(how: str, tmp_path: Path) -> None:
    path = tmp_path / "kernels.sqlite"
    if how == "corrupt":
        path.write_bytes(os.urandom(8192))
    elif how == "a folder":
        path.mkdir()
    elif how == "unwritable":
        path = Path("/proc/kernels.sqlite")
    else:
        path = Path("/dev/full")
    database = Database(path)
    with pytest.warns(UserWarning, match="kernel database .* cannot be used"):
        database.store("here", KEY, {"rows=2": lap(0.5)})
    with pytest.warns(UserWarning, match="cannot be used"):
        assert chosen(database) == OPTIONS[0]


def test_a_file_cut_short_harms_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "kernels.sqlite")
    database.store("here", KEY, {f"rows={number}": lap(0.9) for number in range(3000)})
    os.truncate(database.path, database.path.stat().st_size // 2)
    with pytest.warns(UserWarning, match="cannot be used"):
        database.read("here")


def write_for_ever(path: Path, name: int) -> None:
    database = Database(path)
    for number in range(10**6):
        key = KernelKey("dense", (("writer", name), ("number", number)))
        database.store("here", key, {"rows=1": lap(1.0), "rows=2": lap(0.9)})


def test_writers_killed_at_any_moment_leave_whole_results(tmp_path: Path) -> None:
    path = tmp_path / "kernels.sqlite"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_for_ever, args=(path, name)) for name in range(4)]
    for writer in writers:
        writer.start()
    deadline = time.monotonic() + 120
    while len(Database(path).read("here")) < 40 and time.monotonic() < deadline:
        time.sleep(0.05)
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    known = Database(path).read("here")
    assert len(known) >= 40
    assert all(set(laps) == {"rows=1", "rows=2"} for laps in known.values())
    Database(path).store("here", KEY, {"rows=2": lap(0.7)})
    assert chosen(Database(path)) == OPTIONS[1]


def test_the_target_tells_processors_and_threads_apart() -> None:
    host = load_profile("x86-host")
    assert target_of(host) == target_of(host)
    assert len({target_of(host.with_threads(threads)) for threads in range(1, host.cores + 1)}) == host.cores


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "understudy" / "kernels.sqlite"
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    assert default_path() == tmp_path / "mine"
