"""GKD: divergences between teacher and student, on texts that are given and on such as the student writes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from evaluators.distill.catalogue import load_distiller
from evaluators.distill.methods.on_policy import Gkd, jensen_shannon, written
from evaluators.distill.signals import Signals
from evaluators.teachers.teacher import ModuleTeacher
from spaces.decoder import Decoder
from understudy import ConfigError


def some_decoder(seed: int) -> Decoder:
    torch.manual_seed(seed)
    return Decoder(11, 8, embedding=16, width=16, heads=2, feed=2, layers=1, dropout=0.5)


def a_teacher() -> ModuleTeacher:
    return ModuleTeacher(some_decoder(1), name="t", classes=11, channels=11, resolution=8, fingerprint="t")


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_divergence_is_none_between_equals_only(beta: float) -> None:
    student, teacher = torch.randn(2, 5, 11, generator=torch.Generator().manual_seed(0))
    assert jensen_shannon(student, student, beta) == pytest.approx(0, abs=1e-6)
    assert jensen_shannon(student, teacher, beta) > 0.01
    if 0 < beta < 1:
        other = jensen_shannon(teacher, student, 1 - beta)
        assert jensen_shannon(student, teacher, beta) == pytest.approx(float(other), rel=1e-5)


def test_its_ends_are_both_divergences_of_kullback_and_leibler() -> None:
    student, teacher = torch.randn(2, 5, 11, generator=torch.Generator().manual_seed(0))
    forward = nn.functional.kl_div(student.log_softmax(1), teacher.softmax(1), reduction="batchmean")
    assert jensen_shannon(student, teacher, 0.0) == pytest.approx(float(forward), rel=1e-5)
    near = jensen_shannon(student, teacher, 1e-4) / 1e-4
    assert float(near) == pytest.approx(float(forward), rel=1e-2)
    reverse = nn.functional.kl_div(teacher.log_softmax(1), student.softmax(1), reduction="batchmean")
    assert jensen_shannon(student, teacher, 1.0) == pytest.approx(float(reverse), rel=1e-5)


def test_a_student_writes_what_it_holds_for_likely() -> None:
    decoder = some_decoder(0).train()
    decoder.words.weight.data *= 8  # sure of itself
    ids = torch.randint(11, (64, 8), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    found = written(decoder, ids, 3)
    assert torch.equal(found[:, :3], ids[:, :3])
    assert not torch.equal(found, ids)
    assert decoder.training
    shares = decoder.eval()(found).log_softmax(-1)
    likely = shares[:, 2:-1].gather(-1, found[:, 3:, None]).mean()
    given = shares[:, 2:-1].gather(-1, ids[:, 3:, None]).mean()
    assert likely > given + 1


@pytest.mark.parametrize("on_policy", [0.0, 1.0])
def test_a_student_comes_nearer_to_its_teacher(on_policy: float) -> None:
    student, teacher = some_decoder(0), a_teacher()
    ids = torch.randint(11, (8, 8), generator=torch.Generator().manual_seed(2))
    method = Gkd(on_policy=on_policy, weight=1.0).attached(student, teacher, ids)
    optimiser = torch.optim.Adam(student.parameters(), 0.01)
    losses = []
    for _ in range(60):
        seen = Signals(student(ids).flatten(0, 1), images=ids)
        asked = Signals(teacher.logits(ids).flatten(0, 1))
        loss = method.loss(seen, asked, torch.randint(11, (64,)))
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
        losses.append(loss.distillation.item())
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    assert all(parameter.grad is None for parameter in teacher.module.parameters())


def test_what_it_is_not_for_is_refused() -> None:
    assert load_distiller("gkd:beta=0,on_policy=1") == Gkd(on_policy=1.0, beta=0.0)
    with pytest.raises(ConfigError, match="beta must be in"):
        Gkd(beta=2.0)
    with pytest.raises(ConfigError, match="go on with texts"):
        Gkd().attached(nn.Linear(2, 2), a_teacher(), torch.zeros(1, 8))
    with pytest.raises(ConfigError, match="give the teacher"):
        Gkd().attached(some_decoder(0), None, torch.zeros(1, 8))
