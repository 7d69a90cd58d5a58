from __future__ import annotations

import itertools
from contextlib import nullcontext
from pathlib import Path

import pytest
from distiller_contract import ConvNet, digits, outputs, teacher

from evaluators.candidate import evaluate_candidate
from evaluators.distill.auto import (
    METHOD,
    PREFIX,
    TaughtSpace,
    auto_methods,
    teaching_domain,
    teaching_text,
    usable_methods,
)
from evaluators.distill.catalogue import load_distiller, methods
from evaluators.distill.method_text import method_text
from evaluators.distill.schedule import Schedule
from evaluators.workbench import Workbench
from results.measurement import Measurement
from spaces.choice import Choice
from spaces.space import Space
from understudy import ConfigError


class Widths(Space):
    """Networks of two widths."""

    name, resolutions = "widths", (8,)

    def __init__(self) -> None:
        self.domain = {"width": (4, 8)}

    def build(self, choice):
        assert list(choice) == ["width"]
        return ConvNet(1, int(choice["width"]), 10)

    def resolution(self, choice):
        assert list(choice) == ["width"]
        return 8

    def signature(self, choice):
        return f"{choice['width']:064x}"

    def smallest(self):
        return Choice({"width": 4})


def choice(method: str, **settings: object) -> Choice:
    return Choice({METHOD: method, **{PREFIX + name: value for name, value in settings.items()}})


def test_every_choice_of_teaching_is_a_distiller_in_its_shortest_text():
    names = auto_methods("auto")
    assert names == tuple(methods())
    domain = teaching_domain(names)
    settings = [name for name in domain if name != METHOD]
    for name in names:
        values = itertools.product(*(domain[setting] for setting in settings))
        texts = {teaching_text({METHOD: name, **dict(zip(settings, each, strict=True))}) for each in values}
        assert name in texts
        assert all(method_text(load_distiller(text)) == text for text in texts)
        assert len(texts) > 1 or name == "hard-labels"


@pytest.mark.parametrize(
    ("chosen", "text"),
    [
        (choice("hard-labels", temperature=8.0, strength=4.0, stages="last"), "hard-labels"),
        (choice("soft-targets", temperature=2.0, soft=0.9), "soft-targets:temperature=2"),
        (choice("soft-targets", strength=4.0), "soft-targets:weight=0.973"),
        (choice("dkd", strength=0.25), "dkd:alpha=0.25,beta=0.5"),
        (choice("hints", temperature=8.0, stages="all"), "hints:stages=all"),
        (choice("hints", temperature=8.0, soft=0.9), "hints:soft=0.9,temperature=8"),
        (Choice({"width": 4}), ""),
    ],
)
def test_settings_of_no_effect_are_left_out(chosen, text):
    named = teaching_text(chosen)
    assert named.partition(":")[0] == text.partition(":")[0]
    assert set(named.partition(":")[2].split(",")) == set(text.partition(":")[2].split(","))


def test_equal_trainings_of_equal_networks_are_equal_candidates():
    space = TaughtSpace(Widths(), ("hard-labels", "soft-targets"))
    assert space.domain[METHOD] == ("hard-labels", "soft-targets")
    assert f"{PREFIX}stages" not in space.domain
    first = space.smallest()
    assert space.resolution(first) == 8
    assert space.build(first).head[-1].out_features == 10
    soft = Choice({**first, METHOD: "soft-targets"})
    signatures = [space.signature(each) for each in (first, Choice({**first, f"{PREFIX}temperature": 8.0}), soft)]
    assert signatures[0] == signatures[1] != signatures[2]
    assert len({signature.partition("+")[0] for signature in signatures}) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("auto:methods=hard-label+dkd", "unknown distiller 'hard-label': did you mean 'hard-labels'"),
        ("auto:methods=dkd", "leaves nothing to choose"),
        ("auto:method=dkd+hints", "unknown setting of auto 'method': did you mean 'methods'"),
        ("aut", "unknown distiller 'aut'"),
    ],
)
def test_other_texts_are_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        usable_methods(text, True)


def test_without_a_teacher_only_what_needs_none_is_left():
    assert usable_methods("auto", False) == ("hard-labels", "self", "mutual")
    assert usable_methods("auto:methods=dkd+self", True) == ("dkd", "self")
    assert usable_methods("soft-targets:weight=1", False) == ()


def test_a_candidate_is_taught_by_its_own_method_and_not_measured_again(tmp_path: Path):
    bench = Workbench(
        space=TaughtSpace(Widths(), ("hard-labels", "dkd")),
        task=digits(),
        teacher_outputs=outputs(),
        reference=outputs(),
        distiller=None,
        schedule=Schedule(1, batch_size=256, views=0),
        final_schedule=Schedule(1),
        targets=(),
        working=nullcontext,
        scratch=tmp_path / "nothing-is-compiled",
        seed=0,
        open_teacher=teacher,
    )
    known = {"latency": Measurement(0.001, "s")}
    chosen = Choice(
        {**bench.space.smallest(), METHOD: "dkd", f"{PREFIX}temperature": 2.0, f"{PREFIX}strength": 1.0}
    )
    outcome = evaluate_candidate(bench, chosen, 0, known)
    assert outcome.state == "done"
    assert outcome.taught_by == "dkd:temperature=2"
    assert outcome.measurements["latency"] == known["latency"]
    assert 0 < outcome.measurements["accuracy"].value <= 1
    assert not bench.scratch.exists()
