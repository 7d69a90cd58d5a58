"""The peak memory that a network is held to its budget by, against what its process really holds.

    python -m tests.benchmarks.memory [--only NAME ...] [--threads 1]

A line a network: the plan; what its process grew by in loading and two inferences; the second over the first; and
the highest that the process ever grew, which is while it loads (weights are copied on the way, pages of the file
counted). The last line has the ratio's median, quartiles and extremes, and the largest difference.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import nn

from evaluators.compile.compiler import compile_network
from evaluators.compile.tune.child import Child
from hw_profiles.profile import Profile, load_profile
from tests.benchmarks.kernels.networks import NETWORKS
from tests.benchmarks.memory.held import Held, held

STUDENTS = tuple(
    f"{space}-{size}-{number}"
    for space, size, numbers in (
        ("mobile", 32, (0, 1, 2)),
        ("residual", 32, (0, 1, 2)),
        ("mobilenetv3", 32, (0, 1)),
        ("shufflenet", 32, (0, 1)),
        ("mobile", 224, (0, 1)),
        ("residual", 224, (0,)),
    )
    for number in numbers
)
OTHERS = ("mobilenetv2-0.35-96", "mobilenetv2-96", "bert-4x256", "vit-tiny", "resnet-18")
LIMIT_S = 60.0


def plan_and_held(network: nn.Module, example: torch.Tensor, profile: Profile, folder: Path) -> tuple[int, Held]:
    """Bytes by the plan of a network compiled for this computer, and what a process of its own holds.

    Raises ``CompileError``, and ``ChildDiedError`` or ``ChildRaisedError`` when it does not run.
    """
    compiled = compile_network(network, example, profile, folder / "network.so")
    small, image = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval(), torch.zeros(1, 3, 8, 8)
    first = compile_network(small, image, profile, folder / "first.so").library
    with closing(Child()) as child:
        arguments = compiled.library, (example.numpy(),), profile.threads, first, image.numpy()
        found: Held = child.ask(held, *arguments, limit_s=LIMIT_S)
    return compiled.memory_bytes, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=tuple(NETWORKS), default=STUDENTS + OTHERS, metavar="NAME")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    profile = load_profile("x86-host").with_threads(options.threads)
    print(f"{'network':22}{'plan':>12}{'held':>12}{'held / plan':>13}{'loading':>12}{'(kB)':>6}")
    ratios, differences = [], []
    for name in options.only:
        network, example = NETWORKS[name].build()
        with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
            plan, found = plan_and_held(network, example, profile, Path(folder))
        ratios.append(found.running / plan)
        differences.append(abs(found.running - plan))
        sizes = f"{plan / 1e3:12,.0f}{found.running / 1e3:12,.0f}{ratios[-1]:13.3f}{found.highest / 1e3:12,.0f}"
        print(f"{name:22}{sizes}", flush=True)
    low, median, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    print(
        f"RESULT memory held_over_plan={median:.3f} quartiles={low:.3f}..{high:.3f} "
        f"least={min(ratios):.3f} most={max(ratios):.3f} largest_difference_kb={max(differences) / 1e3:.0f}"
    )


if __name__ == "__main__":
    main()
