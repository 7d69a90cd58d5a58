"""Students of one space taught by the teacher against the same students alone: same steps, same seeds.

    python -m tests.benchmarks.distilled_vs_scratch [--data digits] [--space mobile] [--students 3] [--seeds 3]

For each student (drawn once, the same for every seed) and each seed of its initial weights and sample order: test
accuracy distilled, alone, and their difference. The last line is the mean difference with its standard error.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
import torch

from evaluators.distill.evaluate import accuracy, predict_logits
from evaluators.distill.methods.response import HardLabels, SoftTargets
from evaluators.distill.schedule import final_schedule
from evaluators.distill.teacher_outputs import compute_outputs
from evaluators.distill.trainer import train_student
from evaluators.tasks.load import load_task
from evaluators.teachers.builtin import builtin_teacher
from spaces.catalogue import load_space
from spaces.space import random_choice


def main() -> None:
    """Train every pair and print the table."""
    parser = argparse.ArgumentParser(description="Distilled students against the same students alone.")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--space", default="mobile")
    parser.add_argument("--students", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="length of the training (default: the full schedule)")
    parser.add_argument("--cache", type=Path, default=Path("results/runs/.cache"))
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    task = load_task(options.data, cache=options.cache, seed=0)
    teacher = builtin_teacher(task, cache=options.cache, seed=0)
    schedule = final_schedule(task.size("train"), options.epochs)
    outputs = compute_outputs(teacher, task, views=schedule.views, cache=options.cache)
    targets = task.targets("test")
    print(f"teacher {100 * accuracy(torch.from_numpy(np.array(outputs.logits('test'))), targets):.2f} %")
    space = load_space(options.space, channels=task.channels, image_size=task.image_size, classes=task.classes)
    generator = random.Random(0)
    choices = [space.smallest(), *(random_choice(space, generator) for _ in range(options.students - 1))]
    gains = []
    for number, choice in enumerate(choices):
        for seed in range(options.seeds):
            scores = []
            for distiller in (SoftTargets(), HardLabels()):
                torch.manual_seed(seed)
                network = space.build(choice)
                train_student(
                    network,
                    task,
                    resolution=space.resolution(choice),
                    distiller=distiller,
                    teacher_outputs=outputs,
                    schedule=schedule,
                    seed=seed,
                )
                scores.append(
                    100 * accuracy(predict_logits(network, task, "test", space.resolution(choice)), targets)
                )
            gains.append(scores[0] - scores[1])
            parameters = sum(p.numel() for p in network.parameters())
            print(
                f"student {number} ({parameters} parameters) seed {seed}: distilled {scores[0]:.2f} %, "
                f"alone {scores[1]:.2f} %, gain {gains[-1]:+.2f}",
                flush=True,
            )
    error = np.std(gains, ddof=1) / np.sqrt(len(gains))
    print(f"RESULT distilled_vs_scratch gain={np.mean(gains):+.2f} standard_error={error:.2f} pairs={len(gains)}")


if __name__ == "__main__":
    main()
