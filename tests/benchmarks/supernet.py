"""What a supernet learns and how its scores rank students, beside what teaching them one by one takes.

    python -m tests.benchmarks.supernet [--data digits] [--space mobile] [--epochs N ...]
        [--supervision outputs blocks] [--count 16] [--seeds 1] [--final]

Times are the processor's, of one process. See ``tests/benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from evaluators.distill.allocator import keep_freed_memory
from evaluators.distill.methods.response import SoftTargets
from evaluators.distill.schedule import Schedule, final_schedule, search_schedule
from evaluators.distill.teacher_outputs import TeacherOutputs, compute_outputs
from evaluators.distill.trainer import train_student
from evaluators.supernet.blocks import BlockWise
from evaluators.supernet.course import supernet_schedule, teach_supernet
from evaluators.supernet.crew import Crew
from evaluators.supernet.kept import open_supernet
from evaluators.supernet.lesson import Lesson
from evaluators.supernet.sample import correlation
from evaluators.supernet.score import inherited_logits
from evaluators.tasks.load import load_task
from evaluators.tasks.task import Task
from evaluators.teachers.builtin import builtin_teacher
from search.config import BLOCKS, OUTPUTS, SUPERVISIONS
from spaces.catalogue import load_space
from spaces.choice import Choice
from spaces.space import Space, random_choice


def main() -> None:
    """A line for those taught one by one, and one for each supernet."""
    options = _options()
    torch.set_num_threads(1)
    keep_freed_memory()
    cache: Path = options.cache
    cache.mkdir(parents=True, exist_ok=True)
    task = load_task(options.data, cache=cache, seed=0, image_size=options.image_size)
    space = load_space(options.space, channels=task.channels, image_size=task.image_size, classes=task.classes)
    samples = task.size("train")
    lengths = options.epochs or [supernet_schedule(samples).epochs]
    plans = [search_schedule(samples), *([final_schedule(samples)] if options.final else [])]
    views = max(plan.views for plan in [*plans, *(supernet_schedule(samples, length) for length in lengths)])
    teacher = builtin_teacher(task, cache=cache, seed=0)
    outputs = compute_outputs(teacher, task, views=views, cache=cache)
    draw = random.Random(1)
    choices = [random_choice(space, draw) for _ in range(options.count)]
    alone = [_alone(space, task, outputs, choices, plan) for plan in plans]
    for length, way, seed in itertools.product(lengths, options.supervision, range(options.seeds)):
        method = BlockWise() if way == BLOCKS else SoftTargets()
        lesson = Lesson(task, method, outputs, teacher, supernet_schedule(samples, length), seed)
        _report(space, lesson, choices, alone, plans)


def _alone(
    space: Space, task: Task, outputs: TeacherOutputs, choices: Sequence[Choice], schedule: Schedule
) -> list[float]:
    """The validation accuracy of each when taught by itself, and a line."""
    found, began = [], time.process_time()
    for number, choice in enumerate(choices):
        torch.manual_seed(number)
        taught = train_student(
            space.build(choice),
            task,
            resolution=space.resolution(choice),
            distiller=SoftTargets(),
            teacher_outputs=outputs,
            schedule=schedule,
            seed=number,
        )
        found.append(taught.val_accuracy)
    apiece = (time.process_time() - began) / len(choices)
    print(f"one by one, {schedule.epochs} epochs: {_spread(found)}; {apiece:.1f} s each", flush=True)
    return found


def _report(
    space: Space,
    lesson: Lesson,
    choices: Sequence[Choice],
    alone: Sequence[Sequence[float]],
    plans: Sequence[Schedule],
) -> None:
    """Teach a supernet, score the choices, say how both went."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        teach_supernet(space, lesson, Path(folder), Crew())
        took = time.process_time() - began
        supernet = open_supernet(Path(folder), space)
    began, scores = time.process_time(), []
    for choice in choices:
        logits = inherited_logits(supernet.inherit(choice), lesson.task, space.resolution(choice))
        scores.append(lesson.task.score(logits, lesson.task.targets("val")))
    apiece = (time.process_time() - began) / len(choices)
    ranks = [
        f"after {plan.epochs} epochs alone {_ranks(scores, found)}"
        for plan, found in zip(plans, alone, strict=True)
    ]
    print(
        f"supernet, {lesson.distiller.name}, {lesson.schedule.epochs} epochs, seed {lesson.seed}: "
        f"{_spread(scores)}; taught in {took:.0f} s, "
        f"{apiece:.2f} s a score; Kendall, Spearman to the accuracy {', '.join(ranks)}",
        flush=True,
    )


def _ranks(scores: Sequence[float], found: Sequence[float]) -> str:
    ranks = correlation(scores, found)
    return f"{ranks.kendall:.2f}, {ranks.spearman:.2f}"


def _spread(accuracies: Sequence[float]) -> str:
    mean, least, most = (100 * pick(accuracies) for pick in (statistics.fmean, min, max))
    return f"accuracy {mean:.2f} % ({least:.2f} to {most:.2f})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.benchmarks.supernet", description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="digits", help="as of `understudy search`")
    parser.add_argument("--space", default="mobile")
    parser.add_argument("--image-size", type=int, help="largest input size in pixels (default: from the data)")
    parser.add_argument("--epochs", type=int, nargs="+", help="of supernets (default: from the data)")
    parser.add_argument("--supervision", nargs="+", choices=SUPERVISIONS, default=[OUTPUTS])
    parser.add_argument("--count", type=int, default=16, help="students at random, scored and taught")
    parser.add_argument("--seeds", type=int, default=1, help="supernets of each length")
    parser.add_argument("--final", action="store_true", help="teach the students to the end as well")
    parser.add_argument("--cache", type=Path, default=Path("results/runs/supernet-benchmark"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
