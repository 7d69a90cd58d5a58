"""A student of a run as it is in use, opened to learn more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from results.candidate import Student
from results.store import RunStore
from results.updates import Versions
from search.config import SearchConfig
from search.display import Display
from search.preparation import CACHE, plan_of
from understudy import DataError, RunError, UnderstudyError

if TYPE_CHECKING:
    from torch import nn

    from evaluators.lifelong.joined import Input
    from evaluators.tasks.image_task import ImageTask


@dataclass(frozen=True)
class Former:
    """A student in use: ``version`` (0: the search's own), its classes, what of its ``earlier`` data is at hand,
    what it takes (``like``), and its trained network."""

    student: Student
    version: int
    labels: tuple[str, ...]
    earlier: ImageTask | None
    like: Input
    network: nn.Module


def open_former(store: RunStore, config: SearchConfig, number: int, display: Display) -> Former:
    """The student in use of that number; raises ``RunError`` when its weights are not there."""
    from evaluators.lifelong.joined import Input
    from evaluators.tasks.augment import augment_policy

    facts, version = store.facts(), Versions(store.path).current(number)
    known = {student.number: student for student in store.students()}
    student = version.student if version else known[number]
    labels = version.labels if version else tuple(facts["task"]["labels"])
    fingerprint = version.fingerprint if version else facts["origin"]["data"]
    look = student.preprocess
    if "mean" not in look or "size" not in look:
        raise RunError(f"student #{number} does not take images, and only students of images can learn later data")
    if "vocabulary" in look:
        raise RunError(
            f"student #{number} answers questions about images, and only students that classify images can learn "
            "later data"
        )
    if "grid" in look:
        raise RunError(
            f"student #{number} answers with maps, and only students that classify images can learn later data"
        )
    earlier = _earlier(fingerprint, store, config, version is None, look["size"], display)
    like = Input(
        channels=look["channels"],
        image_size=facts["task"]["image_size"],
        resolution=look["size"],
        mean=tuple(look["mean"]),
        std=tuple(look["std"]),
        augment=earlier.augment if earlier else augment_policy(config.augment or "shift"),
    )
    network = untaught(config, student, like, len(labels))
    _load(network, store, student)
    return Former(student, version.number if version else 0, labels, earlier, like, network.eval())


def untaught(config: SearchConfig, student: Student, like: Input, classes: int) -> nn.Module:
    """The network of a student as its space builds it, for so many classes."""
    from evaluators.distill.trainer import seeded
    from evaluators.tasks.image_task import ImageTask
    from spaces.catalogue import load_space
    from spaces.choice import Choice

    spec = config.space or ImageTask.space
    space = load_space(spec, channels=like.channels, image_size=like.image_size, classes=classes)
    with seeded(config.seed):
        return space.build(Choice({name: student.choice[name] for name in space.domain}))


def _earlier(
    fingerprint: str, store: RunStore, config: SearchConfig, first: bool, resolution: int, display: Display
) -> ImageTask | None:
    """What the student was taught with, as it was prepared for that, or prepared again; None where it is gone."""
    from evaluators.tasks.image_task import ImageTask

    cache = store.path.parent / CACHE
    try:
        for found in sorted(cache.glob(f"{fingerprint}-*/task.json")):
            task = ImageTask.open(found.parent)
            task.prepare([resolution])
            return task
        again = plan_of(config, store, display)[1] if first else None
        if isinstance(again, ImageTask) and again.fingerprint == fingerprint:
            return again
        raise DataError("they are not in the cache any more, and what is there now are others")
    except UnderstudyError as error:
        display.note(f"note: the earlier data are not at hand, so what is forgotten cannot be measured: {error}")
        return None


def _load(network: nn.Module, store: RunStore, student: Student) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if student.quantised:
        raise RunError(
            f"student #{student.number} computes in integers, and only students of float32 can be updated so far: "
            "name another one, or search again with the new data"
        )
    path = store.path / student.files["weights"]
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise RunError(
            f"{path} does not hold the weights of student #{student.number} ({error}): restore it"
        ) from error
