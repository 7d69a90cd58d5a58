"""Answers with a class for each place of a map, as methods that know samples and classes read them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor

from evaluators.distill.distiller import Distiller
from evaluators.distill.signals import Signals
from understudy import ConfigError

if TYPE_CHECKING:
    from evaluators.tasks.task import Task


def each_place(signals: Signals, channels: int, sides: tuple[int, ...] = ()) -> Signals:
    """Signals whose every place is a sample: logits (B, C, G, G) become (B * G * G, ``channels``), the first ones.

    So do those of several maps, (B, C, P, 1), whose ``sides`` are noted. Those of a text's tokens, (B, T, C),
    become (B * T, C); those of no network stay as they are.
    """
    if signals.logits.ndim == 3:
        return replace(signals, logits=signals.logits.flatten(0, 1))
    if signals.logits.ndim != 4:
        return signals
    return replace(signals, logits=signals.logits[:, :channels].permute(0, 2, 3, 1).flatten(0, 2), sides=sides)


def maps(logits: Tensor, samples: int) -> Tensor:
    """Logits of ``each_place`` as maps again, (samples, classes, places)."""
    return logits.view(samples, -1, logits.shape[1]).transpose(1, 2)


def check_answers(distiller: Distiller, task: Task) -> None:
    """Raise ``ConfigError`` for a method that does not know answers of this kind."""
    if task.dense and not distiller.maps:
        raise ConfigError(
            f"distiller {distiller.name!r} is not for answers to each place ({task.kind}): use one of outputs, "
            "such as --distill soft-targets or hard-labels"
        )
    if distiller.only_maps and (not task.dense or task.tokens != distiller.only_texts):
        fitting = "plain text to go on with" if distiller.only_texts else "answers that are maps (masks, boxes)"
        raise ConfigError(f"distiller {distiller.name!r} is for {fitting}: use another")
    if distiller.only_texts and not task.tokens:
        raise ConfigError(
            f"distiller {distiller.name!r} compares the tokens of texts, and the data are none: use another "
            "--distill"
        )
    if distiller.only_graphs and task.kind != "graph":
        raise ConfigError(
            f"distiller {distiller.name!r} compares the neighbourhoods of a graph, and the data are none: use "
            "another --distill"
        )
