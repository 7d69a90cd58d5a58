"""Machine code that is kept: the same results, never stale or damaged, never a reason to fail."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from evaluators.compile.compiler import compile_network, lower_kernels
from evaluators.compile.export import import_network
from evaluators.compile.objects import VARIABLE, Objects, default_objects
from evaluators.compile.verify import compare
from evaluators.latency.host import HostDevice
from hw_profiles.profile import load_profile

PROFILE = load_profile("x86-host").with_threads(1)
X = torch.linspace(-1, 1, 3 * 9 * 9).reshape(1, 3, 9, 9)


def network(*before: nn.Module) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(*before, nn.Conv2d(3, 10, 3), nn.ReLU(), nn.Flatten(), nn.Linear(490, 5))


def outputs(folder: Path) -> np.ndarray:
    library = compile_network(network(), X, PROFILE, folder / "network.so").library
    found = HostDevice(PROFILE).run(library, X.numpy())
    assert compare(network()(X).detach().numpy(), found) < 1e-5
    return found


def rows(path: Path) -> list[tuple[str, bytes]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT key, code FROM objects_1 ORDER BY key").fetchall()


@pytest.fixture
def objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cache" / "objects.sqlite"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def test_kept_code_computes_the_same(objects: Path, tmp_path: Path) -> None:
    first = outputs(tmp_path)
    kept = rows(objects)
    assert len(kept) >= 2
    assert np.array_equal(first, outputs(tmp_path))
    assert rows(objects) == kept


def test_damaged_code_is_compiled_anew(objects: Path, tmp_path: Path) -> None:
    first = outputs(tmp_path)
    kept = rows(objects)
    with closing(sqlite3.connect(objects)) as connection, connection:
        connection.execute("UPDATE objects_1 SET code = zeroblob(100)")
    assert np.array_equal(first, outputs(tmp_path))
    assert [key for key, _ in rows(objects)] == [key for key, _ in kept]
    assert all(any(code) for _, code in rows(objects))


def test_a_file_that_cannot_be_used_is_said(objects: Path, tmp_path: Path) -> None:
    objects.parent.mkdir()
    objects.write_text("no database, but long enough to be taken for a damaged one. " * 20)
    with pytest.warns(UserWarning, match="compiled kernels"):
        outputs(tmp_path)


def test_nothing_is_kept_where_the_variable_is_empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, "")
    assert default_objects() is None
    outputs(tmp_path)
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_objects() == Objects(tmp_path / "understudy" / "objects.sqlite")


def test_what_is_used_stays_when_there_is_too_much(tmp_path: Path) -> None:
    objects = Objects(tmp_path / "objects.sqlite", most_bytes=100)
    objects.store({"a": b"a" * 40, "b": b"b" * 40})
    with closing(sqlite3.connect(objects.path)) as connection, connection:
        connection.execute("UPDATE objects_1 SET used = used - 3")
    assert objects.read(["b", "unknown"]) == {"b": b"b" * 40}
    objects.store({"c": b"c" * 30})
    assert objects.read(["a", "b", "c"]) == {"b": b"b" * 40, "c": b"c" * 30}


def test_a_kernel_has_one_name_in_all_networks() -> None:
    names = []
    for each in (network(nn.Conv2d(3, 3, 1)), network(nn.Conv2d(3, 5, 1), nn.Tanh(), nn.Conv2d(5, 3, 1))):
        _, scheduled = lower_kernels(import_network(each, X), PROFILE)
        names.append({variable.name_hint for variable in scheduled.get_global_vars()})
    assert any("dense" in name for name in names[0] & names[1])
    assert any("convolution" in name for name in names[0] & names[1])
