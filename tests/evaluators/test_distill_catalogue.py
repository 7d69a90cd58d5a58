from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import pytest
from click.testing import CliRunner
from torch import nn

from evaluators.distill.catalogue import load_distiller, methods
from evaluators.distill.method_text import method_text, settings_of, with_settings
from evaluators.distill.methods.response import HardLabels, SoftTargets
from search.cli.main import group
from understudy import ConfigError


@dataclass(frozen=True)
class Sample(HardLabels):
    """A method with a setting of every kind (Nobody, 2026)."""

    name: ClassVar[str] = "sample"
    weight: float = 1.0
    layers: str = ""
    levels: int = 3
    pooled: bool = False
    most: int | None = None
    adapter: nn.Module | None = field(default=None, init=False)


def test_every_method_is_named_once_and_says_what_it_does():
    known = methods()
    assert {"soft-targets", "hard-labels"} <= set(known)
    for name, method in known.items():
        distiller = load_distiller(name)
        assert distiller.name == name
        assert method_text(distiller) == name
        assert method.summary.endswith(".")
        assert method.family == "labels" or "(" in method.summary, f"{name} must name its paper"


def test_the_table_of_methods_has_every_method():
    listing = CliRunner().invoke(group, ["methods"], env={"COLUMNS": "200"}).output
    assert all(name in listing for name in methods())
    assert "temperature [4]" in listing


def test_a_text_and_its_distiller_say_the_same():
    assert load_distiller("soft-targets") == SoftTargets()
    assert load_distiller(" soft-targets : temperature = 2, weight=0.5 ") == SoftTargets(2.0, 0.5)
    assert method_text(SoftTargets(2.0)) == "soft-targets:temperature=2"
    assert load_distiller(method_text(SoftTargets(1 / 3, 0.25))) == SoftTargets(0.333333333333, 0.25)


def test_settings_are_read_as_their_fields_are_typed():
    settings = {"weight": "2e-1", "layers": "blocks.1+blocks.2", "levels": "5", "pooled": "Yes", "most": "7"}
    read = with_settings(Sample, settings)
    assert (read.weight, read.layers, read.levels, read.pooled, read.most) == (
        0.2,
        "blocks.1+blocks.2",
        5,
        True,
        7,
    )
    assert method_text(read) == "sample:weight=0.2,layers=blocks.1+blocks.2,levels=5,pooled=true,most=7"
    assert list(settings_of(Sample)) == ["weight", "layers", "levels", "pooled", "most"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("soft-target", "unknown distiller 'soft-target': did you mean 'soft-targets'"),
        ("soft-targets:temprature=2", "unknown setting of soft-targets 'temprature': did you mean 'temperature'"),
        ("soft-targets:temperature", "must be NAME or NAME:setting=value,setting=value, but got 'temperature'"),
        ("soft-targets:temperature=hot", "temperature of soft-targets must be a finite number, but got 'hot'"),
        ("soft-targets:temperature=nan", "must be a finite number, but got 'nan'"),
        ("soft-targets:temperature=0", "above 0, but got 0"),
        ("soft-targets:weight=2", r"0\.\.1"),
        ("soft-targets:weight=1,weight=0.5", "gives weight of soft-targets twice"),
        ("hard-labels:weight=0.5", "hard-labels has no settings, but got weight"),
        ("", "unknown distiller ''"),
    ],
)
def test_other_text_is_refused_with_what_is_wrong(text, message):
    with pytest.raises(ConfigError, match=message):
        load_distiller(text)


@pytest.mark.parametrize(("setting", "value"), [("levels", "1.5"), ("pooled", "maybe")])
def test_a_value_of_another_type_is_refused(setting, value):
    with pytest.raises(ConfigError, match=f"{setting} of sample must be .*, but got '{value}'"):
        with_settings(Sample, {setting: value})
