"""Ray, started here or attached to: quiet, private, one thread a worker."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from understudy import ConfigError

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "RAY_worker_niceness": "0",
}
_OBJECT_STORE_BYTES = 200_000_000
_CONNECT_S = 5.0
_PROBE_S = 60.0
_PROBE = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"


@contextmanager
def ray_session(address: str | None, cpus: int) -> Iterator[None]:
    """Ray while inside: a cluster of this computer with ``cpus`` slots, or the running one at ``address``.

    Nothing is reported home. Raises ``ConfigError`` when no cluster answers at ``address``, or it wants a token
    that is not here.
    """
    os.environ.update(_ENVIRONMENT)
    if address is not None and address.rpartition(":")[2].isdigit():
        _check_listens(address)
        _use_auth_mode(_auth_mode(address))
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)  # what fails is in the record, in words of ours
    local = {"num_cpus": cpus, "object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False}
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            configure_logging=True,
            **({} if address else local),
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        if address is None:
            raise ConfigError(f"Ray does not start on this computer: {error}; see `understudy doctor`") from error
        raise _no_cluster(address, error) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_listens(address: str) -> None:
    """Refuse an address where nothing listens; Ray would wait for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise _no_cluster(address, error) from error


def _auth_mode(address: str) -> str:
    """Whether a cluster wants a ``token`` (that of ``~/.ray/auth_token``) or none (``disabled``).

    A driver must do as its cluster does. One that has a token where none is wanted connects, but refuses what the
    cluster tells it, so that each of its actors is cancelled before it starts. Which it is, only asking tells, and
    a process of its own asks, as Ray settles on one in a process.
    """
    problem = ""
    for mode in ("disabled", "token"):
        try:
            asked = subprocess.run(
                [sys.executable, "-c", _PROBE, address],
                env={**os.environ, "RAY_AUTH_MODE": mode},
                capture_output=True,
                text=True,
                timeout=_PROBE_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise _no_cluster(address, error) from error
        if asked.returncode == 0:
            return mode
        problem = (asked.stderr.strip().splitlines() or [""])[-1]
        if "AuthenticationError" not in problem:
            raise _no_cluster(address, RuntimeError(problem))
    raise ConfigError(
        f"the Ray cluster at {address} wants a token that is not here: copy ~/.ray/auth_token from the computer "
        "on which `ray start --head` was called"
    )


def _use_auth_mode(mode: str) -> None:
    """Have this process do so; Ray reads the environment once, and may have been imported before."""
    os.environ["RAY_AUTH_MODE"] = mode
    from ray._raylet import Config  # type: ignore[attr-defined]  # which its stub leaves out

    Config.initialize("")


def _no_cluster(address: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"no Ray cluster answers at {address} ({error}): start one with `ray start --head`, or leave "
        "--ray-address out to use this computer"
    )
