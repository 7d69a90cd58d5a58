"""How a worker process uses the machine."""

from __future__ import annotations

import warnings


def settle_worker() -> str:
    """Make this process a worker: one thread, memory kept between steps, no notes of libraries.

    Returns where it trains: the GPU that Ray gave it, or the CPU.
    """
    import ray
    import torch

    from evaluators.distill.allocator import keep_freed_memory

    warnings.simplefilter("ignore", FutureWarning)
    keep_freed_memory()
    torch.set_num_threads(1)
    return "cuda" if ray.get_gpu_ids() and torch.cuda.is_available() else "cpu"


def cluster_cores() -> int:
    """How many workers Ray has room for, on all its machines."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def resources(workers: int) -> dict[str, float]:
    """What one of ``workers`` asks Ray for: a core, and its share of the cluster's GPUs if there are any."""
    import ray

    gpus = float(ray.cluster_resources().get("GPU", 0))
    return {"CPU": 1.0, "GPU": min(1.0, gpus / workers)} if gpus else {"CPU": 1.0}
