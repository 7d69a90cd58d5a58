"""One student in float32 and the same in integers: what accuracy it costs, how much faster and smaller it is.

    python -m tests.benchmarks.distill.quantised [--data digits] [--image-size N] [--space mobile] [--seeds 3]
        [--epochs N] [--distill soft-targets] [--quantise int8|int8-weights|int4-weights]

Same initial weights, data order, teacher and number of steps. Latencies are of one thread, timed in turn with
those of onnxruntime on the same two networks' ONNX files (its own float32 and int8 kernels). On digits, both
figures stand in the last line of the benchmark of all ways of teaching, too.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from evaluators.compile.compiler import compile_module
from evaluators.distill.catalogue import load_distiller
from evaluators.distill.distiller import Distiller
from evaluators.distill.evaluate import predict_logits
from evaluators.distill.schedule import Schedule, final_schedule
from evaluators.distill.teacher_outputs import TeacherOutputs, compute_outputs
from evaluators.distill.trainer import train_student
from evaluators.latency.race import sample_here
from evaluators.onnx_twin import export_onnx
from evaluators.quantise.integer import delivered
from evaluators.quantise.onnx_file import import_student
from evaluators.quantise.phases import calibrate, phases, training_batches
from evaluators.quantise.precision import WEIGHTS, Precision
from evaluators.tasks.load import load_task
from evaluators.tasks.task import Task
from evaluators.teachers.builtin import builtin_teacher
from hw_profiles.profile import Profile, load_profile
from results.bundle.runner import CompiledStudent
from spaces.batch import single
from spaces.catalogue import load_space
from spaces.choice import Choice
from spaces.space import Space
from tests.benchmarks.distill.setting import middle_choice

ROUNDS = 101
SAMPLE_S = 3e-4
"""Short, so that few samples meet another process; ``ROUNDS`` many, so that those do not count."""
EPOCHS = 12
"""Of a student of digits."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Subject:
    """The student that is compared: the middle of every choice of a space."""

    task: Task
    space: Space
    profile: Profile

    @staticmethod
    def of(data: str, space: str, cache: Path, image_size: int | None = None) -> Subject:
        """On a data set, for one thread of this computer."""
        cache.mkdir(parents=True, exist_ok=True)
        task = load_task(data, cache=cache, seed=0, image_size=image_size)
        found = load_space(space, **task.sizes)
        return Subject(task, found, load_profile("x86-host").with_threads(1))

    @property
    def choice(self) -> Choice:
        return middle_choice(self.space)

    @property
    def resolution(self) -> int:
        return self.space.resolution(self.choice)

    def build(self) -> nn.Module:
        """The student before its training, from torch's seed."""
        return self.space.build(self.choice)


@dataclass(frozen=True)
class Accuracies:
    """Test scores (shares) of the student in float32, of the same rounded afterwards, and taught in integers."""

    in_float: float
    rounded_after: float
    in_integers: float


@dataclass(frozen=True)
class Costs:
    """Medians of seconds a call, of our compiled libraries and of onnxruntime; bytes of our libraries.

    ``speedups`` says how many times as fast our integers are as our float32: the quartiles of the rounds, in each
    of which all are timed one after the other, so that what slows them all bends no ratio.
    """

    float_s: float
    integer_s: float
    ort_float_s: float
    ort_integer_s: float
    float_bytes: int
    integer_bytes: int
    speedups: tuple[float, float, float]

    @property
    def speedup(self) -> float:
        """The median of ``speedups``."""
        return self.speedups[1]


def accuracies(
    build: Callable[[], nn.Module],
    task: Task,
    resolution: int,
    distiller: Distiller,
    outputs: TeacherOutputs | None,
    schedule: Schedule,
    seed: int,
    precision: Precision,
) -> Accuracies:
    """Teach the network that ``build`` makes from torch's seed, in float32 and in integers."""
    scores = []
    for integers in (False, True):
        torch.manual_seed(seed)
        network = build()
        if integers:
            precision.prepare(network, {}, single(task.batch("train", np.arange(4), resolution)))
        train_student(
            network,
            task,
            resolution=resolution,
            distiller=distiller,
            teacher_outputs=outputs,
            schedule=schedule,
            seed=seed,
            on_epoch=phases(network, task, resolution, schedule.epochs, nullcontext),
        )
        scores.append(_tested(delivered(network), task, resolution))
        if not integers:
            precision.prepare(network, {}, single(task.batch("train", np.arange(4), resolution)))
            calibrate(network, training_batches(task, resolution))
            scores.append(_tested(delivered(network), task, resolution))
    return Accuracies(*scores)


def costs(build: Callable[[], nn.Module], images: torch.Tensor, profile: Profile, precision: Precision) -> Costs:
    """Compile the network that ``build`` makes both ways and time them; ``images`` are a few of its inputs."""
    with tempfile.TemporaryDirectory() as folder:
        compiled, runners = [], []
        for integers in (False, True):
            network = build().eval()
            if integers:
                precision.prepare(network, {}, images)
            network = delivered(network)
            path = Path(folder) / f"{integers}.onnx"
            export_onnx(network, images[:1], path)
            library = path.with_suffix(".so")
            compiled.append(compile_module(import_student(network, images[:1]), profile, library))
            runners += [CompiledStudent(library, profile.threads), _onnxruntime(path, profile.threads)]
        rounds = timed(runners, images[:1].numpy())
    floats, ort_floats, integers, ort_integers = np.median(rounds, axis=0).tolist()
    low, middle, high = np.quantile(rounds[:, 0] / rounds[:, 2], (0.25, 0.5, 0.75)).tolist()
    sizes = [each.size_bytes for each in compiled]
    return Costs(floats, integers, ort_floats, ort_integers, *sizes, (low, middle, high))


def timed(runners: list[Callable[..., Any]], image: np.ndarray) -> np.ndarray:
    """Seconds a call of each, taken in turn: (rounds, runners)."""
    calls = [max(1, int(SAMPLE_S / min(sample_here(runner, (image,), 1) for _ in range(3)))) for runner in runners]
    return np.array(
        [
            [sample_here(runner, (image,), each) for runner, each in zip(runners, calls, strict=True)]
            for _ in range(ROUNDS)
        ]
    )


def _onnxruntime(path: Path, threads: int) -> Callable[..., Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda image: session.run(None, {"input": image})


def _tested(network: nn.Module, task: Task, resolution: int) -> float:
    return task.score(predict_logits(network, task, "test", resolution), task.targets("test"))


def int8_drop(cache: Path, tell: Tell, seeds: int = 3) -> float:
    """Points of test accuracy that a student of digits loses by computing in integers: the mean of seeds."""
    return drop(Subject.of("digits", "mobile", cache), "int8", "soft-targets", EPOCHS, cache, tell, seeds)


def int8_speedup(cache: Path, tell: Tell, seeds: int = 3) -> float:
    """How many times as fast that student is compiled to integers as compiled to float32 (no seed matters)."""
    return speed(Subject.of("digits", "mobile", cache), "int8", tell).speedup


def drop(
    subject: Subject, quantise: str, distill: str, epochs: int | None, cache: Path, tell: Tell, seeds: int
) -> float:
    """The mean of seeds of the points lost in integers, under the built-in teacher if the method wants one."""
    task = subject.task
    schedule = final_schedule(task.size("train"), epochs, task.optimiser, task.dense)
    distiller, precision = load_distiller(distill), Precision.of(quantise, [subject.profile])
    outputs = None
    if distiller.uses_teacher:
        teacher = builtin_teacher(task, cache=cache, seed=0)
        outputs = compute_outputs(teacher, task, views=schedule.views, cache=cache)
    drops = []
    for seed in range(seeds):
        scores = accuracies(subject.build, task, subject.resolution, distiller, outputs, schedule, seed, precision)
        drops.append(100 * (scores.in_float - scores.in_integers))
        tell(
            f"seed {seed}: float32 {100 * scores.in_float:.2f} %, rounded afterwards "
            f"{100 * scores.rounded_after:.2f} %, taught in integers {100 * scores.in_integers:.2f} %"
        )
    return float(np.mean(drops))


def speed(subject: Subject, quantise: str, tell: Tell) -> Costs:
    """The student compiled both ways, and timed."""
    images = single(subject.task.batch("val", np.arange(4), subject.resolution))
    found = costs(subject.build, images, subject.profile, Precision.of(quantise, [subject.profile]))
    tell(
        f"us a call: float32 {1e6 * found.float_s:.1f}, integers {1e6 * found.integer_s:.1f} (quartiles of the "
        f"ratio {found.speedups[0]:.2f} to {found.speedups[2]:.2f}); onnxruntime "
        f"{1e6 * found.ort_float_s:.1f} and {1e6 * found.ort_integer_s:.1f}; bytes {found.float_bytes} and "
        f"{found.integer_bytes}"
    )
    return found


def main() -> None:
    """Print the table and the result."""
    parser = argparse.ArgumentParser(description="A student in float32 and in integers.")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--space", default="mobile")
    parser.add_argument("--quantise", default="int8", choices=("int8", *WEIGHTS))
    parser.add_argument("--distill", default="soft-targets")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="length of the training (default: the full schedule)")
    parser.add_argument("--cache", type=Path, default=Path("results/runs/.cache"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    subject = Subject.of(options.data, options.space, options.cache, options.image_size)
    found = speed(subject, options.quantise, _say)
    lost = drop(subject, options.quantise, options.distill, options.epochs, options.cache, _say, options.seeds)
    ratio = found.integer_bytes / found.float_bytes
    name = options.quantise
    print(f"RESULT {name} {name}_drop={lost:.2f} {name}_speedup={found.speedup:.2f} size_ratio={ratio:.2f}")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
