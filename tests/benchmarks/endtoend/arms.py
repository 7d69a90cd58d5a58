"""The searches that are compared, each a run of the command line, gone on with where it was stopped."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console

from results.store import RunStore, write_atomically
from search.config import load_config
from search.display import Display
from search.lock import run_lock
from search.preparation import prepare
from tests.benchmarks.endtoend.evolution import evolve

MOBILENETV2 = Path(__file__).with_name("mobilenetv2.py")
MANY = 100_000
SHARES = (0.5, 1.0)
"""Of the latency limit, one an evolution: a front needs more than one."""
Point = tuple[float, float]
"""Latency in seconds, and accuracy on the test split, a share."""


@dataclass(frozen=True)
class Setting:
    """What all searches share: the data, the largest input size (pixels; None: that of the data), their limit, the
    time of a search (s), the length of the trainings."""

    out: Path
    data: str
    image_size: int | None
    max_latency: str
    seconds: float
    epochs: int | None
    final_epochs: int | None
    supernet_epochs: int | None
    finalists: int
    workers: int


class Arms:
    """The arms by name, with a ledger of what each took."""

    def __init__(self, setting: Setting, say: Callable[[str], None]) -> None:
        self._setting, self._say = setting, say
        self._file = setting.out / "arms.json"
        self.ledger: dict[str, dict[str, Any]] = json.loads(self._file.read_text()) if self._file.exists() else {}

    def warm_up(self) -> None:
        """Data, teacher and its answers, which every arm uses and none is charged for."""
        self._searched("warm-up", ["--trials", "1", "--finalists", "1", "--epochs", "1", "--final-epochs", "1"])

    def supernet(self) -> None:
        """The supernet, and a search with it for as long as the time that is left."""
        epochs = self._given("supernet-epochs", self._setting.supernet_epochs)
        short = ["--trials", "1", "--finalists", "1", "--final-epochs", "1"]
        self._searched("train", ["--supernet", "train", *epochs, *short, *self._epochs()])
        left = max(1.0, self._setting.seconds - self.ledger["train"]["seconds"])
        run = str(self.run("train"))
        self._searched("supernet", ["--supernet", run, *self._epochs(), *self._finals(), *self._time(left)])

    def alone(self) -> None:
        """Our search without a supernet."""
        self._searched("alone", [*self._epochs(), *self._finals(), *self._time(self._setting.seconds)])

    def mobilenetv2(self) -> None:
        """MobileNetV2 at several widths; those on their front are taught to the end."""
        every = ["--sampler", "random", "--trials", str(MANY), "--finalists", str(MANY)]
        self._searched(
            "mobilenetv2", ["--space", f"{MOBILENETV2}:MobileNetV2", *every, *self._epochs(), *self._finals()]
        )

    def evolution(self) -> None:
        """NNI's evolution, a process a core, then the front finished as in every search."""
        if "evolution" in self.ledger:
            return
        began, run = time.monotonic(), self.run("evolution")
        setting = self._setting
        options = {
            "data": setting.data,
            "runs": str(setting.out / "runs"),
            "name": "evolution",
            "max_latency": setting.max_latency,
            "workers": setting.workers,
            "finalists": setting.finalists,
            "image_size": setting.image_size,
            "epochs": setting.epochs,
            "final_epochs": setting.final_epochs,
        }
        config = load_config(None, options).anchored()
        if not (run / "config.yaml").exists():
            store = RunStore.create(run)
            store.write_text("config.yaml", config.to_yaml())
            with run_lock(run):
                plan = prepare(config, store, Display(Console(quiet=True))).plan
            with ProcessPoolExecutor(len(SHARES), mp_context=get_context("spawn")) as pool:
                left = setting.seconds - (time.monotonic() - began)
                jobs = [
                    pool.submit(evolve, plan, run, left, place, len(SHARES), share)
                    for place, share in enumerate(SHARES)
                ]
                counts = [job.result() for job in jobs]
            self._say(f"evolution: {counts} candidates under {SHARES} of the limit")
            done = len(RunStore(run).candidates())
            store.write_text("config.yaml", replace(config, trials=max(1, done)).to_yaml())
        self._call("evolution", ["resume", str(run)], began)

    def run(self, name: str) -> Path:
        """The folder of an arm's run."""
        return self._setting.out / "runs" / name

    def points(self, name: str) -> list[Point]:
        """Its students, as measured in the end."""
        return [
            (student.measurements["latency"].value, student.measurements["test_accuracy"].value)
            for student in RunStore(self.run(name)).students()
        ]

    def _searched(self, name: str, options: list[str]) -> None:
        if name in self.ledger:
            return
        going_on = (self.run(name) / "config.yaml").exists()
        arguments = (
            ["resume", str(self.run(name))]
            if going_on
            else ["search", *self._common(), "--name", name, "--finalists", str(self._setting.finalists), *options]
        )
        self._call(name, arguments, time.monotonic())

    def _call(self, name: str, arguments: list[str], began: float) -> None:
        """Run a command and write down how long it took; one that was stopped counts from its last start."""
        self._say(f"{name}: understudy {' '.join(arguments)}")
        command = [sys.executable, "-c", "from search.cli.main import main; main()", *arguments]
        with (self._setting.out / f"{name}.log").open("a") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log)
        store = RunStore(self.run(name))
        candidates = store.candidates()
        self.ledger[name] = {
            "seconds": time.monotonic() - began,
            "searched": max((candidate.elapsed for candidate in candidates), default=0.0),
            "done": sum(candidate.state == "done" for candidate in candidates),
            "candidates": len(candidates),
        }
        write_atomically(self._file, json.dumps(self.ledger, indent=1).encode())

    def _common(self) -> list[str]:
        setting = self._setting
        return [
            *("--data", setting.data, "--runs", str(setting.out / "runs"), "--max-latency", setting.max_latency),
            *("--workers", str(setting.workers)),
            *self._given("image-size", setting.image_size),
        ]

    def _time(self, seconds: float) -> list[str]:
        return ["--time", f"{seconds:.0f}s", "--trials", str(MANY)]

    def _epochs(self) -> list[str]:
        return self._given("epochs", self._setting.epochs)

    def _finals(self) -> list[str]:
        return self._given("final-epochs", self._setting.final_epochs)

    def _given(self, name: str, value: int | None) -> list[str]:
        return [] if value is None else [f"--{name}", str(value)]
