"""The machines of a cluster, held to what a worker needs before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from search.versions import installed_versions
from understudy import ConfigError

_ANSWER_S = 120.0


def check_nodes(run: Path, folder: Path) -> None:
    """Refuse a cluster with a machine on which every candidate would fail.

    Each that has a core must have our package, the versions of this computer, and see ``folder`` (where the search
    was started) and ``run`` with what was written there just now. One that joins later is not asked; what it lacks
    ends the search with the first candidate that it takes. Raises ``ConfigError``.
    """
    wanted = (installed_versions(), str(folder), str(run / "config.yaml"), (run / "config.yaml").read_bytes())
    look = ray.remote(_looking())
    answers = {}
    for node in ray.nodes():
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
            answers[look.options(num_cpus=0, scheduling_strategy=there, max_retries=0).remote(*wanted)] = name
    if not answers:
        raise ConfigError("no machine of the Ray cluster has a core to work with: start one with `ray start`")
    for answer, name in answers.items():
        try:
            problem = ray.get(answer, timeout=_ANSWER_S)
        except GetTimeoutError:
            problem = f"gave no answer within {_ANSWER_S:.0f} s: see its logs in /tmp/ray, or take it out"
        except RayError as error:
            problem = f"cannot run a worker: {str(error).strip().splitlines()[-1]}"
        if problem:
            raise ConfigError(f"{name} of the Ray cluster {problem}")


def _looking() -> Callable[[Mapping[str, str], str, str, bytes], str]:
    """What a machine is asked, as a function that needs nothing of ours there: Ray sends it whole."""

    def look(versions: Mapping[str, str], folder: str, file: str, content: bytes) -> str:
        from pathlib import Path

        try:
            from search.versions import installed_versions
        except ImportError:
            return "does not have Understudy: install the same version there, in the environment that Ray runs in"
        here: dict[str, Any] = installed_versions()
        other = [
            f"{name} {here.get(name, 'missing')} instead of {version}"
            for name, version in versions.items()
            if here.get(name) != version
        ]
        if other:
            return f"has {', '.join(other)}: install the same versions there"
        if not Path(file).is_file() or Path(file).read_bytes() != content:
            return (
                f"does not see the run's folder {Path(file).parent}: give --runs a folder that all machines "
                "share under the same name, or start Ray on this computer alone"
            )
        if not Path(folder).is_dir():
            return (
                f"does not see {folder}, where this search was started: start it in a folder that all machines "
                "share under the same name"
            )
        return ""

    return look
