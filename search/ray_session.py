"""Ray, started here or attached to: quiet, private, one thread a worker."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


@contextmanager
def ray_session(address: str | None, cpus: int) -> Iterator[None]:
    """Ray while inside: a cluster of this computer with ``cpus`` slots, or the running one at ``address``.

    Nothing is reported home. Raises ``ConfigError`` when no cluster answers at ``address``.
    """
    os.environ.update(_ENVIRONMENT)
    if address is not None:
        _check_address(address)
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
    except (ConnectionError, ValueError) as error:
        if address is None:
            raise ConfigError(f"Ray does not start on this computer: {error}; see `understudy doctor`") from error
        raise _no_cluster(address, error) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Refuse an address where nothing listens (Ray would wait for minutes), and use the cluster's token.

    A cluster that `ray start` made wants the token of ``~/.ray/auth_token``, which Ray sends only when told to.
    """
    host, _, port = address.rpartition(":")
    if port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
        except OSError as error:
            raise _no_cluster(address, error) from error
    if (Path.home() / ".ray" / "auth_token").exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _no_cluster(address: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"no Ray cluster answers at {address} ({error}): start one with `ray start --head`, or leave "
        "--ray-address out to use this computer"
    )
