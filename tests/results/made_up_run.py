"""A made-up run of realistic shape, for tests of what is shown of a run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from results.budget import Budget
from results.candidate import Candidate, Student, Value
from results.front import pareto_front
from results.measurement import Measurement
from results.store import RunStore

START = datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
BUDGET = {"latency": 0.002, "size": 4e6}


def make_run(folder: Path, count: int = 60, *, ended: bool = True, seed: int = 0) -> RunStore:
    """A run of ``count`` candidates; ``ended`` adds the finalists and the facts of the end."""
    rng = np.random.default_rng(seed)
    store = RunStore.create(folder)
    store.write_text("config.yaml", "data: datasets/beans\nbudget:\n  latency: 2ms\n  size: 4MB\ntrials: 60\n")
    store.write_facts(facts(ended))
    elapsed = 0.0
    for number in range(count):
        made = candidate(number, rng)
        elapsed += sum(made.seconds.values())
        finished = (START + timedelta(seconds=elapsed)).isoformat()
        store.append(Candidate(**{**vars(made), "elapsed": elapsed, "finished": finished}))
    if ended:
        front = pareto_front(store.candidates(), ("accuracy", "latency"), Budget(BUDGET))
        store.write_students([student(each, rng, index) for index, each in enumerate(front[:5])])
    return store


def facts(ended: bool) -> dict[str, object]:
    latency = Measurement(0.0213, "s", low=0.0211, high=0.0218, repeats=47)
    counts = {"train": 7200, "val": 900, "test": 900}
    end = {"ended": (START + timedelta(hours=1.1)).isoformat(), "ended_by": "trials"} if ended else {}
    return end | {
        "name": "beans",
        "task": {"labels": ["healthy", "rust", "spot"], "channels": 3, "image_size": 64, "counts": counts},
        "teacher": {
            "name": "resnet50",
            "accuracy": 0.937,
            "val_accuracy": 0.941,
            "latency": latency.to_json(),
            "parameters": 23_514_179,
            "size": 94_056_716,
        },
        "profile": {"name": "x86-host", "isa": "x86_64", "mcpu": "x86-64", "threads": 1, "features": ["sse2"]},
        "space": "mobile",
        "objectives": ["accuracy", "latency"],
        "budget": BUDGET,
        "seed": 0,
        "versions": {"understudy": "0.1.0", "torch": "2.13.0", "apache-tvm": "0.27.0.post1"},
        "started": START.isoformat(),
    }


def candidate(number: int, rng: np.random.Generator) -> Candidate:
    choice: dict[str, Value] = {
        "resolution": int(rng.choice([32, 48, 64])),
        "width": float(rng.choice([0.25, 0.5, 0.75, 1.0, 1.5])),
    }
    for stage in range(1, 5):
        choice[f"stage{stage}.depth"] = int(rng.integers(1, 4))
        choice[f"stage{stage}.kernel"] = int(rng.choice([3, 5]))
    choice["activation"] = str(rng.choice(["relu", "hardswish"]))
    depth = sum(int(choice[f"stage{stage}.depth"]) for stage in range(1, 5))
    kernel = sum(int(choice[f"stage{stage}.kernel"]) for stage in range(1, 5)) / 12
    work = (int(choice["resolution"]) / 48) ** 2 * float(choice["width"]) ** 1.6 * depth / 8 * kernel
    latency = 0.0007 * work * rng.lognormal(0, 0.08) + 0.00012
    spread = 0.012 * rng.lognormal(0, 0.8)
    figures = {
        "latency": Measurement(
            latency, "s", low=latency * (1 - spread), high=latency * (1 + 1.6 * spread), repeats=30
        ),
        "size": Measurement(2.4e5 + 1.9e6 * float(choice["width"]) ** 1.9 * depth / 8, "byte"),
        "memory": Measurement(3e5 + 4e5 * work, "byte"),
    }
    seconds = {"build": 0.1, "compile": float(rng.uniform(0.8, 2.2)), "measure": float(rng.uniform(0.4, 1.2))}
    key = f"{number:08x}"
    if number % 29 == 17:
        reason = "training diverged in epoch 2: check the images and the teacher"
        return Candidate(number, choice, key, "failed", reason, figures, {**seconds, "train": 9.0})
    violation = Budget(BUDGET).violation(figures)
    if violation is not None:
        return Candidate(number, choice, key, "infeasible", violation, figures, seconds)
    accuracy = 0.93 - 0.16 * np.exp(-1.3 * (work + 0.06) ** 0.5 * 2) - 0.05 * rng.random() ** 2
    seconds = {**seconds, "train": float(rng.uniform(30, 75)), "score": 1.5}
    scored = {**figures, "accuracy": Measurement(float(accuracy), "share", repeats=900)}
    if number > 20 and accuracy < 0.84:
        return Candidate(number, choice, key, "pruned", "below the median after epoch 3", scored, seconds)
    scored["agreement"] = Measurement(float(accuracy) - 0.02, "share", repeats=900)
    taught = ("soft-targets", "dkd:temperature=2", "hints:soft=0.9")[number % 3]
    return Candidate(number, choice, key, "done", "", scored, seconds, taught_by=taught)


def student(before: Candidate, rng: np.random.Generator, index: int) -> Student:
    accuracy = min(before.measurements["accuracy"].value + float(rng.uniform(0.004, 0.02)), 1.0)
    latency = before.measurements["latency"].value * float(rng.uniform(0.97, 1.03))
    after = {
        **before.measurements,
        "accuracy": Measurement(accuracy, "share", repeats=900),
        "test_accuracy": Measurement(accuracy - 0.006, "share", repeats=900),
        "agreement": Measurement(accuracy - 0.01, "share", repeats=900),
        "latency": Measurement(latency, "s", low=latency * 0.993, high=latency * 1.011, repeats=60),
        "scratch_accuracy": Measurement(accuracy - 0.021, "share", repeats=900),
    }
    files = {
        kind: f"students/{before.number}/{name}"
        for kind, name in (("weights", "weights.safetensors"), ("onnx", "student.onnx"), ("library", "student.so"))
    }
    resolution = before.choice["resolution"]
    preprocess = {
        "channels": 3,
        "size": resolution,
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
    }
    note = "fell off the front: student 57 is faster and as accurate" if index == 3 else ""
    seconds = {"train": 180.0, "compile": 1.4, "verify": 0.6, "measure": 3.0}
    return Student(
        before.number,
        before.choice,
        before.key,
        after,
        before.measurements,
        not note,
        note,
        files,
        preprocess,
        seconds,
        before.taught_by,
    )
