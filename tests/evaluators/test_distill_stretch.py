"""A training in parts: in other processes, with every method, it ends with the weights of an unbroken one."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from distiller_contract import ConvNet, digits, outputs, teacher
from torch import nn

from evaluators.distill.catalogue import load_distiller
from evaluators.distill.schedule import Schedule
from evaluators.distill.stretch import Stretch
from evaluators.distill.trainer import seeded, train_student
from evaluators.quantise.phases import phases
from evaluators.quantise.prepare import prepare, quantised_layers

SCHEDULE = Schedule(4, batch_size=256, views=2)
SHORT = Schedule(2, batch_size=256, views=2)
WITH_A_STATE = ["hints", "contrastive", "review", "mutual", "self"]
"""Methods of which each keeps something of its own kind: adapters, a bank, batch norms, a network, answers."""


class Dropping(nn.Module):
    """A network with a random layer, whose draws a paused training must not repeat."""

    def __init__(self) -> None:
        super().__init__()
        self.body = ConvNet(1, 8, 10)
        self.drop = nn.Dropout(0.2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.drop(self.body(images))
        return logits


def train(
    method: str = "soft-targets",
    stretch: Stretch | None = None,
    random_layer: bool = False,
    schedule=SCHEDULE,
    **options,
):
    with seeded(3):
        network = Dropping() if random_layer else ConvNet(1, 8, 10)
    return train_student(
        network,
        digits(),
        resolution=8,
        distiller=load_distiller(method),
        teacher_outputs=outputs(),
        schedule=schedule,
        seed=3,
        teacher=teacher(),
        stretch=stretch,
        **options,
    )


def equal(first, second) -> bool:
    same = all(torch.equal(value, second.state_dict[name]) for name, value in first.state_dict.items())
    return same and first.val_accuracy == second.val_accuracy


@pytest.mark.parametrize("method", WITH_A_STATE)
def test_two_parts_are_a_whole(method, tmp_path):
    for until in (1, 2):
        part = train(method, Stretch(until, tmp_path / "state", method), schedule=SHORT)
    assert equal(part, train(method, schedule=SHORT))


def test_random_layers_go_on_where_they_were(tmp_path):
    for until in (1, 3):
        train(stretch=Stretch(until, tmp_path / "state", "t"), random_layer=True)
    last = train(stretch=Stretch(4, tmp_path / "state", "t"), random_layer=True)
    whole = train(random_layer=True)
    assert equal(last, whole)
    assert [figures.loss for figures in last.history] == [figures.loss for figures in whole.history]


def test_a_part_that_was_done_before_is_not_done_again(tmp_path):
    stretch = Stretch(2, tmp_path / "state", "t")
    first = train(stretch=stretch)
    told = []
    again = train(stretch=stretch, on_epoch=told.append)
    assert equal(first, again)
    assert len(told) == 2
    assert first.val_accuracy == first.history[-1].val_accuracy


@pytest.mark.parametrize("content", [b"", b"PK torn"])
def test_a_torn_file_or_that_of_another_training_is_not_taken(content, tmp_path):
    file = tmp_path / "state"
    train(stretch=Stretch(1, file, "another"))
    assert Stretch(1, file, "t").load() is None
    file.write_bytes(content)
    assert Stretch(1, file, "t").load() is None


def test_what_is_kept_runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save({"training": "t", "state": Evil()}, tmp_path / "state")
    assert Stretch(1, tmp_path / "state", "t").load() is None
    assert not (tmp_path / "ran").exists()


def test_a_student_of_integers_goes_on_in_integers(tmp_path):
    def integers(stretch=None):
        task = digits()
        with seeded(3):
            network = ConvNet(1, 8, 10)
        prepare(network, task.batch("train", np.arange(8), 8), 7)
        assert quantised_layers(network)
        return train_student(
            network,
            task,
            resolution=8,
            distiller=load_distiller("hard-labels"),
            teacher_outputs=None,
            schedule=SCHEDULE,
            seed=3,
            on_epoch=phases(network, task, 8, SCHEDULE.epochs, nullcontext),
            stretch=stretch,
        )

    parts = [integers(Stretch(until, tmp_path / "state", "t")) for until in (2, 3, 4)]
    assert equal(parts[-1], integers())
