"""How a worker process uses the machine."""

from __future__ import annotations

import warnings


def torch_device_of_worker() -> str:
    """Where this worker trains: the GPU that Ray gave it, or one core; sets torch's threads accordingly."""
    import ray
    import torch

    warnings.simplefilter("ignore", FutureWarning)
    torch.set_num_threads(1)
    return "cuda" if ray.get_gpu_ids() and torch.cuda.is_available() else "cpu"


def resources(workers: int) -> dict[str, float]:
    """What one of ``workers`` asks Ray for: a core, and its share of the cluster's GPUs if there are any."""
    import ray

    gpus = float(ray.cluster_resources().get("GPU", 0))
    return {"CPU": 1.0, "GPU": min(1.0, gpus / workers)} if gpus else {"CPU": 1.0}
