"""What all methods share that compare layers: which layers, the parts that learn along, the mix of losses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from evaluators.distill.distiller import Distiller, Loss
from evaluators.distill.matching import Layer, Layers, named_layers, paired, trace_layers
from evaluators.distill.methods.response import SoftTargets
from evaluators.distill.signals import Signals
from evaluators.distill.stretch import put_back
from evaluators.distill.teacher_signals import check_teacher
from evaluators.teachers.teacher import Teacher
from spaces.batch import Batch, parts, twice
from understudy import ConfigError, unknown_name

_STAGES = ("all", "last", "middle")


@dataclass(frozen=True)
class Compared:
    """One batch: features in the order of the layers, (B, ...); both logits; the classes where they are known.

    ``sides`` are as of the student's ``Signals``.
    """

    student: Sequence[Tensor]
    teacher: Sequence[Tensor]
    logits: tuple[Tensor, Tensor]
    targets: Tensor | None
    sides: tuple[int, ...] = ()

    @property
    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """The features of both networks, pair by pair."""
        return list(zip(self.student, self.teacher, strict=True))


class Comparison(nn.Module):
    """The distance between two networks' features, with whatever learns along (adapters, critics)."""

    def forward(self, batch: Compared) -> Tensor:
        """The distance, a scalar."""
        raise NotImplementedError


@dataclass(frozen=True)
class LayerMethod(Distiller):
    """A way of teaching that compares layers.

    The loss is that of ``SoftTargets(temperature, soft)``, which for ``soft`` 0 are the labels alone, plus
    ``weight`` times the method's distance. ``student`` and ``teacher`` name layers, several joined by ``+``;
    left empty, they are matched. Raises ``ConfigError`` for settings out of range or names on one side only.
    """

    weight: float = 1.0
    soft: float = 0.0
    temperature: float = 4.0
    student: str = ""
    teacher: str = ""

    def __post_init__(self) -> None:
        SoftTargets(self.temperature, self.soft)
        if not self.weight >= 0:
            raise ConfigError(f"the weight of the layers must not be below 0, but got {self.weight}")
        ours, theirs = (len(names.split("+")) if names else 0 for names in (self.student, self.teacher))
        if ours != theirs:
            raise ConfigError(
                f"{self.name} got {ours} layers of the student and {theirs} of the teacher: name as many of each, "
                "or none"
            )

    @property
    def needs_network(self) -> bool:
        """Layers are matched on the networks themselves."""
        return True

    def attached(self, student: nn.Module, teacher: Teacher | None, images: Batch) -> Distiller:
        """See ``Distiller.attached``; matches the layers, or finds those that are named."""
        check_teacher(self, teacher)
        assert teacher is not None
        assert teacher.module is not None
        ours = trace_layers(student, images, "student")
        theirs = trace_layers(teacher.module, _example(teacher, images), "teacher")
        pairs = self.matched(ours, theirs)
        if self.student:
            pairs = list(
                zip(
                    named_layers(ours, student, self.student, "student"),
                    named_layers(theirs, teacher.module, self.teacher, "teacher"),
                    strict=True,
                )
            )
        forms = [self.form(*pair) for pair in pairs]
        return Lesson(
            self,
            tuple(f"{layer.name}@{form}" for (layer, _), form in zip(pairs, forms, strict=True)),
            tuple(f"{layer.name}@{form}" for (_, layer), form in zip(pairs, forms, strict=True)),
        )

    def matched(self, student: Layers, teacher: Layers) -> list[tuple[Layer, Layer]]:
        """The pairs of layers that the method compares where none are named; by default what classifiers see."""
        return [(student.embedding, teacher.embedding)]

    def form(self, student: Layer, teacher: Layer) -> str:
        """The form in which a pair is compared (see ``features``); by default pooled over all places."""
        return "1"

    @abstractmethod
    def comparison(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Comparison:
        """The distance, and what learns along, for features of such shapes."""

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        """Only an attached method knows its layers."""
        raise TypeError(f"{self.name} must be attached to two networks before it gives a loss")


@dataclass(frozen=True)
class StageMethod(LayerMethod):
    """A way of teaching that compares feature maps: of ``all`` stages, of the ``last`` or of the ``middle`` one.

    Maps of different resolution are averaged down to the smaller one. Raises ``ConfigError`` for other ``stages``.
    """

    stages: str = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stages not in _STAGES:
            raise ConfigError(unknown_name("choice of stages", self.stages, _STAGES))

    def matched(self, student: Layers, teacher: Layers) -> list[tuple[Layer, Layer]]:
        """See ``LayerMethod.matched``."""
        pairs = paired(student.stages, teacher.stages)
        if self.stages == "middle":
            return [pairs[(len(pairs) - 1) // 2]]
        return pairs[-1:] if self.stages == "last" else pairs

    def form(self, student: Layer, teacher: Layer) -> str:
        """See ``LayerMethod.form``."""
        return str(min(student.side, teacher.side))


@dataclass(frozen=True)
class Lesson(Distiller):
    """A method attached to two networks, and from ``prepared`` on with the parts that learn along."""

    method: LayerMethod
    student_layers: tuple[str, ...]
    teacher_layers: tuple[str, ...]
    comparison: Comparison | None = None

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the method."""
        return self.method.name

    def prepared(self, student: Signals, teacher: Signals) -> Distiller:
        """See ``Distiller.prepared``."""
        comparison = self.method.comparison(*self._features(student, teacher))
        return replace(self, comparison=comparison.to(student.logits.device))

    def parameters(self) -> Iterable[nn.Parameter]:
        """See ``Distiller.parameters``."""
        return () if self.comparison is None else self.comparison.parameters()

    def state(self) -> dict[str, Tensor]:
        """See ``Distiller.state``; a comparison may hold buffers too."""
        return {} if self.comparison is None else self.comparison.state_dict()

    def put_back(self, state: Mapping[str, Tensor]) -> None:
        """See ``Distiller.put_back``."""
        if self.comparison is not None:
            put_back(self.comparison, state)

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        """See ``Distiller.loss``; accepts data without labels."""
        assert self.comparison is not None
        seen = Compared(
            *self._features(student, teacher), (student.logits, teacher.logits), targets, student.sides
        )
        distance = self.comparison(seen)
        answers = SoftTargets(self.method.temperature, self.method.soft).loss(student, teacher, targets)
        taught = distance if self.method.soft == 0 and targets is not None else distance + answers.distillation
        return Loss(answers.total + self.method.weight * distance, answers.task, taught)

    def _features(self, student: Signals, teacher: Signals) -> tuple[list[Tensor], list[Tensor]]:
        ours = [student.features[name].float() for name in self.student_layers]
        return ours, [teacher.features[name] for name in self.teacher_layers]


def mean(distances: Sequence[Tensor]) -> Tensor:
    """The mean of scalars."""
    return torch.stack(list(distances)).mean()


def _example(teacher: Teacher, samples: Batch) -> Batch:
    """Two samples as the teacher takes them, where its network lies; further parts are those of the student's."""
    assert teacher.module is not None
    weight = next(teacher.module.parameters(), torch.empty(0))
    first, *others = parts(samples)
    sides = [teacher.resolution] * (first.ndim - 2)
    blank = torch.zeros(2, teacher.channels, *sides, device=weight.device)
    return (blank, *(twice(each).to(weight.device) for each in others)) if others else blank
