"""What must hold for every space: a test file lists its spaces and applies ``CHECKS`` to each."""

from __future__ import annotations

import copy
import functools
import random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from spaces.batch import Batch, parts
from spaces.catalogue import load_space
from spaces.choice import Choice, Value
from spaces.scales import answer_shape
from spaces.space import Space, random_choice, sample_shape
from spaces.structure import cost
from understudy import SpaceError

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Case:
    """A space as the catalogue gives it; ``mutations`` bounds how many choices the signature check varies."""

    spec: str
    channels: int
    image_size: int
    classes: int = 10
    mutations: int = 1000
    tokens: bool = False
    sample_rate: int | None = None
    dense: bool = False
    boxes: bool = False
    question: tuple[int, int] | None = None

    @property
    def sizes(self) -> dict[str, Any]:
        sizes = {"channels": self.channels, "image_size": self.image_size, "classes": self.classes}
        sizes |= {"tokens": True} if self.tokens else {}
        sizes |= {"dense": True} if self.dense else {}
        sizes |= {"boxes": True} if self.boxes else {}
        sizes |= {"question": self.question} if self.question else {}
        return sizes | ({"sample_rate": self.sample_rate} if self.sample_rate else {})

    @property
    def space(self) -> Space:
        return _loaded(self)

    def choices(self, count: int, seed: int = 0) -> list[Choice]:
        generator = random.Random(seed)
        return [random_choice(self.space, generator) for _ in range(count)]

    def images(self, choice: Choice, count: int) -> Batch:
        size = self.space.resolution(choice)
        if self.tokens:
            return _ids(count, self.channels, size)
        shape = sample_shape(self.channels, size)
        images = torch.rand(count, *shape, generator=torch.Generator().manual_seed(1))
        return images if self.question is None else (images, _ids(count, *self.question))


def _ids(count: int, pieces: int, length: int) -> torch.Tensor:
    ids = torch.randint(1, pieces, (count, length), generator=torch.Generator().manual_seed(1))
    return ids * (torch.arange(length) < length - 3)


@functools.cache
def _loaded(case: Case) -> Space:
    return load_space(case.spec, **case.sizes)


def the_domain_is_stable_and_plain(case):
    space, again = case.space, load_space(case.spec, **case.sizes)
    assert list(space.domain.items()) == list(again.domain.items())
    for values in space.domain.values():
        assert values
        assert len(set(values)) == len(values)
        assert all(type(value) in (int, float, str, bool) for value in values)
    assert space.resolutions == tuple(sorted(space.resolutions))


def random_networks_classify_images(case):
    for choice in case.choices(2):
        assert case.space.resolution(choice) in case.space.resolutions
        network = case.space.build(choice)
        assert network.training
        with torch.no_grad():
            logits = network.eval()(*parts(case.images(choice, 2)))
        answer = answer_shape(case.classes, case.image_size, case.dense, case.tokens, case.boxes)
        assert logits.shape == (2, *answer)
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()


def networks_export(case):
    choice = case.choices(1, seed=1)[0]
    network = case.space.build(choice).eval()
    images = parts(case.images(choice, 1))
    exported = torch.export.export(network, images).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(*images), network(*images))


def equal_networks_get_equal_weights_from_a_seed(case):
    choice = case.choices(1, seed=2)[0]
    torch.manual_seed(5)
    one = case.space.build(choice).state_dict()
    torch.manual_seed(5)
    two = case.space.build(dict(reversed([*choice.items()]))).state_dict()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def networks_carry_nothing_of_their_making(case):
    network = case.space.build(case.choices(1, seed=3)[0])
    assert not any(type(module).__module__.startswith("nni.nas.nn") for module in network.modules())
    assert copy.deepcopy(network).state_dict().keys() == network.state_dict().keys()


def looking_leaves_the_random_generator_alone(case):
    choice = case.choices(1, seed=4)[0]
    before = torch.get_rng_state()
    fresh = load_space(case.spec, **case.sizes)
    fresh.signature(choice)
    assert torch.equal(torch.get_rng_state(), before)


def signatures_are_equal_exactly_for_equal_networks(case):
    """What torch shows of a network, with its input size, is the independent judge."""
    described = {choice: _description(case, choice) for choice in _neighbours(case)}
    by_signature: dict[str, set[str]] = {}
    for choice, text in described.items():
        by_signature.setdefault(case.space.signature(choice), set()).add(text)
    assert all(len(texts) == 1 for texts in by_signature.values())
    assert len(by_signature) == len(set(described.values()))
    assert len(by_signature) > 1


def _neighbours(case: Case) -> list[Choice]:
    base = case.choices(1, seed=6)[0]
    labels = list(case.space.domain)
    random.Random(0).shuffle(labels)
    varied = [
        Choice({**base, label: value}) for label in labels[: case.mutations] for value in case.space.domain[label]
    ]
    return [*dict.fromkeys([base, *varied])]


def _description(case: Case, choice: Choice) -> str:
    modules = case.space.build(choice).named_modules()
    shown = [f"{name}: {type(module).__name__}({module.extra_repr()})" for name, module in modules]
    return "\n".join([str(case.space.resolution(choice)), *shown])


def wrong_choices_are_refused(case):
    good = case.choices(1)[0]
    label, values = next(iter(case.space.domain.items()))
    with pytest.raises(SpaceError, match=r"must also give"):
        case.space.build({name: value for name, value in good.items() if name != label})
    with pytest.raises(SpaceError, match="unknown choice 'no such'"):
        case.space.signature({**good, "no such": 1})
    with pytest.raises(SpaceError, match=r"must be one of") as refused:
        case.space.resolution({**good, label: "no such"})
    assert all(repr(value) in str(refused.value) for value in values)


def the_smallest_is_cheaper_than_random_ones(case):
    smallest = price(case, case.space.smallest())
    others = [price(case, choice) for choice in case.choices(6, seed=7)]
    assert smallest <= min(others)
    assert smallest < max(others)


def price(case: Case, choice: Mapping[str, Value]) -> int:
    """Parameters and multiply-adds of the network, built with real weights."""
    return cost(case.space.build(choice), case.images(choice, 1))


CHECKS = (
    the_domain_is_stable_and_plain,
    random_networks_classify_images,
    networks_export,
    equal_networks_get_equal_weights_from_a_seed,
    networks_carry_nothing_of_their_making,
    looking_leaves_the_random_generator_alone,
    signatures_are_equal_exactly_for_equal_networks,
    wrong_choices_are_refused,
    the_smallest_is_cheaper_than_random_ones,
)
"""Every space must pass these."""

QUICK_CHECKS = (
    random_networks_classify_images,
    networks_export,
    signatures_are_equal_exactly_for_equal_networks,
)
"""For large spaces of others: what depends on how they are written."""


def signatures(cases: tuple[Case, ...]) -> list[str]:
    """Two signatures of each case, for comparison between processes."""
    return [case.space.signature(choice) for case in cases for choice in case.choices(2, seed=8)]


def signatures_elsewhere(cases: tuple[Case, ...]) -> list[str]:
    """``signatures`` computed by a new process, with another hash seed."""
    code = f"from space_contract import Case, signatures; print(*signatures({cases!r}), sep='\\n')"
    paths = f"{ROOT}:{Path(__file__).parent}"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={"PYTHONPATH": paths, "PYTHONHASHSEED": "7"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.split()
