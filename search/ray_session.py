"""Ray, started here or attached to: quiet, private, one thread a worker."""

from __future__ import annotations

import logging
import os
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


@contextmanager
def ray_session(address: str | None, cpus: int) -> Iterator[None]:
    """Ray while inside: a cluster of this computer with ``cpus`` slots, or the running one at ``address``.

    Nothing is reported home. Raises ``ConfigError`` when no cluster answers at ``address``.
    """
    os.environ.update(_ENVIRONMENT)
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
        raise ConfigError(
            f"no Ray cluster answers at {address} ({error}): start one with `ray start --head`, "
            "or leave --ray-address out to use this computer"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()
