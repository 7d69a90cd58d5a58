"""Teachers that are trained here once: their weights and figures, kept by what they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from evaluators.distill.methods.response import HardLabels
from evaluators.distill.schedule import Schedule
from evaluators.distill.steps import EpochFigures
from evaluators.distill.stretch import Stretch
from evaluators.distill.trainer import train_student
from evaluators.tasks.task import Task
from results.store import write_atomically


def trained_once(
    network: nn.Module, parts: tuple[str, ...], cache: Path, train: Callable[[Path], Mapping[str, Any]]
) -> str:
    """Fill a network with the weights that ``train`` gives it, or with those kept of an earlier training.

    ``parts`` are all that the weights depend on; the answer is their hash, the name of
    ``cache/teachers/<hash>.safetensors`` and ``.json`` (the figures that ``train`` returned). ``train`` is told
    where to keep an unfinished training, from which it goes on. A damaged file counts as absent. Raises what
    ``train`` raises, and ``RunError`` when the cache cannot be written.
    """
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    path = cache / "teachers" / f"{key}.safetensors"
    if not _restored(network, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        facts = train(unfinished)
        write_atomically(path.with_suffix(".json"), json.dumps(dict(facts), indent=1).encode())
        write_atomically(path, save(network.state_dict()))
        unfinished.unlink(missing_ok=True)
    return key


def trained_alone(
    network: nn.Module,
    task: Task,
    schedule: Schedule,
    seed: int,
    unfinished: Path,
    progress: Callable[[int, int], None] | None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Train a network on the labels of a task, at its largest size; the figures to keep of it.

    ``unfinished`` is where it is kept now and then, and gone on from; ``progress`` is told epochs done and in all.
    Raises ``TrainError`` when the training diverges.
    """

    def report(figures: EpochFigures) -> None:
        if progress is not None:
            progress(figures.epoch, figures.epochs)

    trained = train_student(
        network,
        task,
        resolution=task.image_size,
        distiller=HardLabels(),
        teacher_outputs=None,
        schedule=schedule,
        seed=seed,
        device=device,
        on_epoch=report,
        stretch=Stretch(schedule.epochs, unfinished, unfinished.name),
    )
    return {
        "val_accuracy": trained.val_accuracy,
        "epochs": schedule.epochs,
        "seed": seed,
        "seconds": trained.seconds,
        "parameters": sum(p.numel() for p in network.parameters()),
    }


def _restored(network: nn.Module, path: Path) -> bool:
    try:
        network.load_state_dict(load(path.read_bytes()))
    except (OSError, SafetensorError, RuntimeError):
        return False
    return True
