"""How well inherited scores rank students: some sub-networks at random, each also taught from scratch.

Where the scores are too little to go by, the same sub-networks are fine-tuned for a little, and ranked once more.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from scipy import stats

from evaluators.candidate import build_student, scored, teach
from evaluators.stages import Stages
from evaluators.supernet.course import tuned
from evaluators.workbench import Workbench
from spaces.choice import Choice
from spaces.space import Space, random_choice

SAMPLE = 8
ENOUGH = 0.4
"""Kendall's correlation from which inherited scores are trusted to rank candidates."""
_FIRST = 1 << 20
"""Numbers of sampled sub-networks, from which their seeds come, begin beyond those of candidates."""


@dataclass(frozen=True)
class Sampled:
    """A sub-network's validation accuracy after the search's training from scratch and, as far as that was tried,
    with inherited weights and when it was fine-tuned from them (``tuned``), shares in 0..1; and the seconds that
    each took."""

    choice: dict[str, Any]
    trained: float
    train_seconds: float
    inherited: float | None = None
    score_seconds: float = 0.0
    fine_tuned: float | None = None
    tune_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain data: the arguments of the constructor."""
        return asdict(self)


def sample_choices(space: Space) -> list[Choice]:
    """Sub-networks drawn evenly, of as many architectures; the same in every run, so that they are taught once."""
    draw, found = random.Random(0), dict[str, Choice]()
    for _ in range(100 * SAMPLE):
        choice = random_choice(space, draw)
        found.setdefault(space.signature(choice), choice)
        if len(found) == SAMPLE:
            break
    return list(found.values())


def taught(bench: Workbench, choice: Choice, place: int) -> Sampled:
    """One sub-network of the sample taught as a candidate is, without a supernet; raises as ``teach``."""
    stages, number = Stages(), _FIRST + place
    with stages.stage("train"):
        network = build_student(replace(bench, supernet=None), choice, number)
        trained = teach(bench, network, choice, number, bench.distiller_for(choice), bench.schedule)
    return Sampled(dict(choice), trained.val_accuracy, stages.seconds["train"])


def inherited(bench: Workbench, known: Sampled, place: int) -> Sampled:
    """What is ``known`` of one sub-network of the sample, now also its score with the weights of the supernet."""
    choice, stages = Choice(known.choice), Stages()
    with stages.stage("score"):
        score = scored(bench, build_student(bench, choice, _FIRST + place), choice)
    return replace(known, inherited=score.val_accuracy, score_seconds=stages.seconds["score"])


def fine_tuned(bench: Workbench, known: Sampled, place: int) -> Sampled:
    """The same, now also fine-tuned; raises as ``teach``."""
    choice, number, stages = Choice(known.choice), _FIRST + place, Stages()
    with stages.stage("tune"):
        network = build_student(bench, choice, number)
        trained = teach(bench, network, choice, number, bench.distiller_for(choice), tuned(bench.schedule))
    return replace(known, fine_tuned=trained.val_accuracy, tune_seconds=stages.seconds["tune"])


@dataclass(frozen=True)
class Correlation:
    """Rank correlations, -1 to 1, of other accuracies with trained ones; 0 where one of them is all the same."""

    kendall: float
    spearman: float

    @property
    def enough(self) -> bool:
        """Whether these accuracies can stand in for training."""
        return self.kendall >= ENOUGH


def correlation(accuracies: Sequence[float], trained: Sequence[float]) -> Correlation:
    """Kendall's tau-b and Spearman's rho of the accuracies of a sample with those after training."""
    if len(set(accuracies)) < 2 or len(set(trained)) < 2:
        return Correlation(0.0, 0.0)
    found = (
        float(stats.kendalltau(accuracies, trained).statistic),
        float(stats.spearmanr(accuracies, trained).statistic),
    )
    return Correlation(*(0.0 if math.isnan(value) else value for value in found))
