"""Visual question answering: an answer, one of those that are known, to a question about a picture.

Pictures and questions are prepared as tasks of their own, beside this one's folder, which holds besides what every
task has ``pictures.npy``, int64 (N,): the number within its split of each question's picture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from evaluators.distill.schedule import Optimiser, Schedule
from evaluators.tasks.augment import Augment
from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.task import Split, Task, read_facts
from evaluators.tasks.text_task import TextTask
from results.bundle import runner
from results.store import write_atomically
from spaces.batch import Batch

_RATE = 5e-3
"""Learning rate of students."""
_FACTS = ("kind", "fingerprint", "notes")


@dataclass(frozen=True)
class Pictures(ImageTask):
    """The pictures that questions are about; see ``ImageTask``. They are scaled whole, so that nothing is lost."""

    kind: ClassVar[str] = "pictures"

    def scaled(self, picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        """See ``ImageTask.scaled``: nothing is cropped."""
        return runner.stretch(picture, size)


@dataclass(frozen=True)
class QuestionTask(Task):
    """Questions about pictures, with answers as classes; see ``Task``.

    ``channels`` and ``image_size`` are of the ``pictures``, whose views differ; the ``questions`` are the same in
    all. A sample's parts are a picture, float32 (C, R, R), and the ids of a question's tokens, int64 (T,).
    Questions of val and test whose answer is none of ``labels`` have a target of -1: every answer is wrong.
    """

    kind: ClassVar[str] = "questions"
    space: ClassVar[str] = "answer"
    several: ClassVar[bool] = True
    optimiser: ClassVar[Optimiser] = "adamw"
    distill: ClassVar[str] = "soft-targets:temperature=1,weight=0.9"

    folder: Path
    pictures: Pictures
    questions: TextTask
    labels: tuple[str, ...]
    channels: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    counts: Mapping[str, int]
    augment: Augment
    seed: int
    fingerprint: str
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, folder: Path, pictures: Pictures, questions: TextTask, fingerprint: str, notes: Iterable[str]
    ) -> Self:
        """The task of pictures and questions that are prepared beside the folder."""
        return cls(
            folder=folder,
            pictures=pictures,
            questions=questions,
            labels=questions.labels,
            channels=pictures.channels,
            image_size=pictures.image_size,
            mean=pictures.mean,
            std=pictures.std,
            counts=questions.counts,
            augment=pictures.augment,
            seed=questions.seed,
            fingerprint=fingerprint,
            notes=tuple(notes),
        )

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The task prepared in a folder; raises ``DataError`` when there is none."""
        facts = read_facts(folder)
        pictures, questions = (folder.with_name(facts[name]) for name in ("pictures", "questions"))
        parts = Pictures.open(pictures), TextTask.open(questions)
        return cls.of(folder, *parts, facts["fingerprint"], facts["notes"])

    def save(self) -> None:
        """Write ``task.json``; the folder is complete from then on."""
        facts = {name: getattr(self, name) for name in _FACTS}
        facts |= {"pictures": self.pictures.folder.name, "questions": self.questions.folder.name}
        write_atomically(self.folder / "task.json", json.dumps(facts, indent=1).encode())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).open, (self.folder,)

    def prepare(self, resolutions: Iterable[int]) -> None:
        """See ``ImageTask.prepare``."""
        self.pictures.prepare(resolutions)

    def images(self, split: Split, ids: ArrayLike, resolution: int, view: int = 0) -> Batch:
        """Of questions by number within a split the pictures, float32 (B, C, R, R) in 0..1, and tokens (B, T)."""
        return self.pictures.images(split, self._pictures(split, ids), resolution, view), self._tokens(split, ids)

    def batch(self, split: Split, ids: ArrayLike, resolution: int, view: int = 0) -> Batch:
        """As ``images``, pictures normalised by their mean and std: what a student takes."""
        return self.pictures.batch(split, self._pictures(split, ids), resolution, view), self._tokens(split, ids)

    def picture_of(self, split: Split) -> NDArray[np.int64]:
        """By question of a split, the number of its picture within it, int64 (N,)."""
        return self._picture_of[self._slice(split)]

    def search_schedule(self, epochs: int | None) -> Schedule:
        """See ``_longer``."""
        return self._longer(super().search_schedule, epochs)

    def final_schedule(self, epochs: int | None) -> Schedule:
        """See ``_longer``."""
        return self._longer(super().final_schedule, epochs)

    def _longer(self, usual: Callable[[int | None], Schedule], epochs: int | None) -> Schedule:
        """Three times the usual length: to look for what is asked is learnt late; before that all are alike."""
        length = 3 * usual(None).epochs if epochs is None else epochs
        return replace(usual(length), learning_rate=_RATE)

    def preprocess(self, resolution: int) -> dict[str, Any]:
        """What a device must do to both, for the manifest of a bundle (see ``results.bundle.runner``)."""
        return {**self.pictures.preprocess(resolution), **self.questions.preprocess(self.questions.image_size)}

    @property
    def sizes(self) -> dict[str, Any]:
        """As of any task; of questions the size of the vocabulary and the number of tokens."""
        return {**super().sizes, "question": (self.questions.channels, self.questions.image_size)}

    @property
    def sample(self) -> dict[str, Any]:
        """Of both parts."""
        return {**super().sample, **self.questions.sample}

    @property
    def device_files(self) -> Mapping[str, Path]:
        """The vocabulary, by which a device tells the pieces of a question."""
        return self.questions.device_files

    def _pictures(self, split: Split, ids: ArrayLike) -> NDArray[np.int64]:
        numbers: NDArray[np.int64] = self.picture_of(split)[np.asarray(ids, np.int64)]
        return numbers

    def _tokens(self, split: Split, ids: ArrayLike) -> Tensor:
        return self.questions.images(split, ids, self.questions.image_size)

    @cached_property
    def _picture_of(self) -> NDArray[np.int64]:
        numbers: NDArray[np.int64] = np.load(self.folder / "pictures.npy", allow_pickle=False)
        return numbers
