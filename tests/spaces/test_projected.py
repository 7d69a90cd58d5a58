"""What a decoder begins with when it is projected from another."""

from __future__ import annotations

import pytest
import torch

from spaces.decoder import Decoder
from spaces.projected import fits, project

WINDOW, TOKENS = 16, 40


def teacher(embedding: int = 24) -> Decoder:
    """One whose norms, biases and tables are not what they are before anything is learnt."""
    torch.manual_seed(1)
    network = Decoder(TOKENS, WINDOW, embedding, width=24, heads=3, feed=2, layers=3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def ids() -> torch.Tensor:
    return torch.randint(TOKENS, (32, WINDOW), generator=torch.Generator().manual_seed(0))


def answers(network: Decoder) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = network(ids())
    return logits.log_softmax(-1)


def divergence(source: Decoder, student: Decoder) -> float:
    wanted = answers(source)
    return float((wanted.exp() * (wanted - answers(student))).sum(-1).mean())


def test_a_student_with_room_for_all_of_it_is_its_teacher() -> None:
    source = teacher()
    for width, heads, layers in ((24, 3, 3), (48, 3, 3), (48, 6, 4)):
        torch.manual_seed(2)
        student = Decoder(TOKENS, WINDOW, 32, width, heads, 4, layers)
        before = divergence(source, student)
        project(source, student, ids())
        assert divergence(source, student) < 0.02 * before
        assert student.training


@pytest.mark.parametrize(
    ("embedding", "width", "heads", "feed", "layers"),
    [(8, 16, 2, 1, 1), (16, 16, 4, 2, 2), (12, 32, 2, 4, 5), (32, 8, 8, 1, 3)],
)
def test_students_of_any_sizes_begin_nearer_to_their_teacher(
    embedding: int, width: int, heads: int, feed: int, layers: int
) -> None:
    source = teacher()
    torch.manual_seed(2)
    student = Decoder(TOKENS, WINDOW, embedding, width, heads, feed, layers)
    before = divergence(source, student)
    project(source, student, ids())
    assert divergence(source, student) < before
    student(ids()).logsumexp(-1).sum().backward()
    for name, parameter in student.named_parameters():
        assert parameter.isfinite().all(), name
        assert parameter.grad is not None, name


def test_every_weight_of_a_wider_student_is_still_learnt() -> None:
    torch.manual_seed(2)
    student = Decoder(TOKENS, WINDOW, 32, 48, 2, 4, 4)
    project(teacher(), student, ids())
    optimiser = torch.optim.Adam(student.parameters(), lr=1e-3)
    for _ in range(3):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(student(ids()).flatten(0, 1), ids().flatten()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    for name, parameter in student.named_parameters():
        assert parameter.grad is not None
        assert (parameter.grad.flatten(1) if parameter.ndim > 1 else parameter.grad[:, None]).abs().sum() > 0, name


def test_networks_that_do_not_belong_together_are_refused() -> None:
    source, student = teacher(), Decoder(TOKENS, WINDOW, 16, 16, 2, 1, 1)
    assert fits(source, student)
    assert not fits(source, Decoder(TOKENS + 1, WINDOW, 16, 16, 2, 1, 1))
    assert not fits(source, Decoder(TOKENS, WINDOW + 1, 16, 16, 2, 1, 1))
    assert not fits(teacher(embedding=12), student)
    with pytest.raises(ValueError, match="factorised"):
        project(teacher(embedding=12), student, ids())
