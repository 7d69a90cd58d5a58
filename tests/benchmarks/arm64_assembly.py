"""The machine code for 64-bit ARM: instructions for each multiply-add, ours against TVM's default.

    python -m tests.benchmarks.arm64_assembly [--boards rpi4 rpi5] [--show KERNEL]

Nothing is timed. A kernel is compiled for the board, its assembly cut into loops (a label, and the branch back to
it), and the innermost loop with the most multiply-adds is counted: vector FMLA (four multiply-adds each), scalar
FMADD or FMUL + FADD (one each), loads and stores, and those of them on the stack (spills).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
import tvm
from torch import Tensor, nn

from evaluators.compile.compiler import lower_kernels
from evaluators.compile.export import export_network, import_program
from evaluators.compile.link import build, plan_memory
from hw_profiles.profile import Profile, load_profile


class Product(nn.Module):
    """A product of two activations, as in attention."""

    def forward(self, x: Tensor) -> Tensor:
        return x @ x.transpose(1, 2)


KERNELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "dense 128x256x1024": (lambda: nn.Linear(256, 1024), (128, 256)),
    "vector 1x512x1000": (lambda: nn.Linear(512, 1000), (1, 512)),
    "pointwise 14x14x96x576": (lambda: nn.Conv2d(96, 576, 1), (1, 96, 14, 14)),
    "3x3 28x28x64x64": (lambda: nn.Conv2d(64, 64, 3, 2, padding=1), (1, 64, 56, 56)),
    "3x3 28x28x128x128": (lambda: nn.Conv2d(128, 128, 3, padding=1), (1, 128, 28, 28)),
    "7x7 112x112x3x64": (lambda: nn.Conv2d(3, 64, 7, 2, padding=3), (1, 3, 224, 224)),
    "depthwise 3x3 56x56x144": (lambda: nn.Conv2d(144, 144, 3, padding=1, groups=144), (1, 144, 56, 56)),
    "depthwise 5x5 14x14x240": (lambda: nn.Conv2d(240, 240, 5, 2, padding=2, groups=240), (1, 240, 28, 28)),
    "batched product 4x128x64": (Product, (4, 128, 64)),
}


@dataclass(frozen=True)
class Loop:
    """The instructions of one innermost loop, and of them the kinds that matter."""

    lines: tuple[str, ...]
    multiply_adds: int
    vector: int
    memory: int
    spills: int

    @property
    def per_multiply_add(self) -> float:
        """Instructions for each multiply-add."""
        return len(self.lines) / self.multiply_adds if self.multiply_adds else float("inf")


def ours(module: tvm.IRModule, profile: Profile) -> tvm.runtime.Executable:
    """The module by our rules."""
    _, scheduled = lower_kernels(module, profile)
    return build(plan_memory(scheduled)[0], profile.tvm_target)


def default(module: tvm.IRModule, profile: Profile) -> tvm.runtime.Executable:
    """The module as TVM compiles it when nobody schedules it."""
    return tvm.compile(module, target=tvm.target.Target(dict(profile.tvm_target)))


def assembly(executable: tvm.runtime.Executable) -> str:
    """The assembly of all its kernels."""
    module = executable.mod
    return "\n".join(str(part.inspect_source("asm")) for part in module.imports)


def main_loop(text: str) -> Loop:
    """The innermost loop with the most multiply-adds."""
    return max((_counted(lines) for lines in _innermost(text)), key=lambda loop: loop.multiply_adds)


def _innermost(text: str) -> list[tuple[str, ...]]:
    """The instructions of each loop that holds no other: from a label to a branch back to it."""
    found: list[tuple[str, ...]] = []
    labels: dict[str, int] = {}
    body: list[str] = []
    last_loop_start = -1
    for raw in text.splitlines():
        line = raw.split("//")[0].strip()
        label = re.fullmatch(r"(\.LBB\w+):", line)
        if label:
            labels[label[1]] = len(body)
        if not line or line.endswith(":") or line.startswith("."):
            continue
        body.append(line)
        target = re.search(r"(\.LBB\w+)$", line)
        if target and target[1] in labels and line.startswith(("b", "cb", "tb")):
            start = labels[target[1]]
            if start > last_loop_start:
                found.append(tuple(body[start:]))
                last_loop_start = start
    return found


def _counted(lines: tuple[str, ...]) -> Loop:
    vector = [line for line in lines if re.match(r"fml[as]\s+v", line)]
    scalar = [line for line in lines if re.match(r"(fn?madd|fn?msub)\s", line)]
    loose = [line for line in lines if re.match(r"fmul\s+", line)]
    width = sum(2 if ".2s" in line.split(",")[0] else 4 for line in vector)
    width += sum(4 if re.match(r"fmul\s+v", line) else 1 for line in loose) if not vector else 0
    memory = [line for line in lines if re.match(r"(ld|st)\w*\s", line)]
    return Loop(lines, width + len(scalar), len(vector), len(memory), sum("[sp" in line for line in memory))


def _graph(network: nn.Module, shape: tuple[int, ...]) -> tvm.IRModule:
    return import_program(export_network(network, (torch.zeros(shape),)))


def _row(name: str, way: str, loop: Loop) -> str:
    return (
        f"{name:26} {way:8} {loop.per_multiply_add:8.2f} {len(loop.lines):6} {loop.multiply_adds:6} "
        f"{loop.vector:6} {loop.memory:6} {loop.spills:6}"
    )


def main() -> None:
    """One line for each kernel, board and compiler."""
    parser = argparse.ArgumentParser(description="Instructions for each multiply-add on 64-bit ARM.")
    parser.add_argument("--boards", nargs="+", default=["rpi4", "rpi5"])
    parser.add_argument("--show", choices=KERNELS, help="also print our loop of this kernel")
    options = parser.parse_args()
    for board in options.boards:
        profile = load_profile(board)
        print(f"{board} ({profile.mcpu}): in the innermost loop with the most multiply-adds")
        print(f"{'kernel':26} {'code':8} instr/MA instr   MAs   FMLA memory spills")
        for name, (make, shape) in KERNELS.items():
            loop = main_loop(assembly(ours(_graph(make(), shape), profile)))
            print(_row(name, "ours", loop), flush=True)
            plain = main_loop(assembly(default(_graph(make(), shape), profile)))
            print(_row(name, "default", plain), flush=True)
            if name == options.show:
                print("\n".join(loop.lines))


if __name__ == "__main__":
    main()
