"""A search on several machines: pauses go through Tune, and a machine that is lost costs what it was at."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from results.store import RunStore
from search.ladder import FACTOR
from search.nodes import _looking, check_nodes
from search.ray_session import ray_session
from search.versions import installed_versions
from tests.benchmarks.scale import GOALS, RUNGS, search_asleep

TRIALS = 12


@pytest.fixture
def cluster(monkeypatch) -> Iterator[Cluster]:
    """A head without workers and two machines with one each, as processes of this computer."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # other tests would leave the workers no time
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def evaluated(store: RunStore) -> Counter[str]:
    """How often each step of each candidate was begun."""
    return Counter((store.path / "log").read_text().splitlines())


def lose_one(cluster: Cluster, store: RunStore, node: object) -> None:
    """Kill a machine in the middle of the search."""
    while len(store.paused()) < TRIALS // 2:
        time.sleep(0.05)
    cluster.remove_node(node, allow_graceful=False)


@pytest.mark.slow
@pytest.mark.timeout(900)  # three processes import all that a worker needs
def test_a_lost_machine_costs_only_what_it_was_at(cluster, tmp_path):
    store = RunStore.create(tmp_path / "run")
    store.write_text("config.yaml", "data: digits\n")
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    with ray_session(cluster.address, 2):
        check_nodes(store.path, Path.cwd())
        loss = threading.Thread(target=lose_one, args=(cluster, store, nodes[0]), daemon=True)
        loss.start()
        search_asleep(store, TRIALS, 2, epoch_s=0.1)
        loss.join(timeout=60)
    assert not nodes[0].any_processes_alive()
    candidates = store.candidates()
    assert [each.number for each in candidates] == list(range(TRIALS))
    assert [each.reason for each in candidates if each.state == "failed"] == []
    assert {each.state for each in candidates} == {"done", "pruned"}
    assert GOALS.front(candidates)
    begun = evaluated(store)
    assert set(begun.values()) <= {1, 2}
    assert sum(count - 1 for count in begun.values()) <= 1, "more was done again than the lost machine was at"
    first = sum(step.endswith(f" {RUNGS[0]}") for step in begun)
    assert first == TRIALS
    assert len(begun) >= TRIALS + TRIALS // FACTOR
    assert not list((store.path / ".scratch").iterdir())


def test_a_machine_is_told_what_it_lacks(tmp_path):
    look, file = _looking(), tmp_path / "config.yaml"
    assert f"does not see the run's folder {tmp_path}" in look({}, str(tmp_path), str(file), b"new")
    file.write_text("of another run")
    assert "does not see the run's folder" in look({}, str(tmp_path), str(file), b"new")
    file.write_text("new")
    assert look(installed_versions(), str(tmp_path), str(file), b"new") == ""
    assert "where this search was started" in look({}, str(tmp_path / "elsewhere"), str(file), b"new")
    assert "instead of 1.0: install the same" in look({"torch": "1.0"}, str(tmp_path), str(file), b"new")
