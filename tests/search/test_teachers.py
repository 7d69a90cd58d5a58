from __future__ import annotations

import pytest
import torch
import yaml
from distiller_contract import ConvNet, digits
from safetensors.torch import save_file

from evaluators.distill.methods.response import SoftTargets
from evaluators.distill.teacher_signals import check_teacher
from results.store import RunStore
from search.checks import check_names
from search.config import SearchConfig, load_config
from search.teacher import open_teacher
from tests.search.conftest import call_here
from understudy import ConfigError, TeacherError

NET = """
from distiller_contract import ConvNet
def small():
    return ConvNet(1, 8, 10)
def large():
    return ConvNet(1, 16, 10)
"""


@pytest.fixture
def weights(tmp_path):
    """Two weights files of networks of different widths, and the code that builds them."""
    (tmp_path / "net.py").write_text(NET)
    for name, width in (("small", 8), ("large", 16)):
        torch.manual_seed(width)
        save_file(ConvNet(1, width, 10).state_dict(), tmp_path / f"{name}.safetensors")
    return tmp_path


def config_of(folder, *, models, **options):
    teachers = tuple(str(folder / f"{name}.safetensors") for name in ("small", "large"))
    return SearchConfig(teacher=teachers, teacher_model=tuple(f"{folder}/net.py:{m}" for m in models), **options)


def test_several_teachers_are_one_with_code_for_each(weights, tmp_path):
    config = config_of(weights, models=["small", "large"], combine="agreement")
    teacher = open_teacher(config, digits(), tmp_path)
    assert teacher.name == "small.safetensors + large.safetensors"
    assert teacher.rule == "agreement"
    with pytest.raises(TeacherError, match="no layers"):
        check_teacher(NeedsLayers(), teacher)
    with pytest.raises(ConfigError, match="given 3 times for 2 weights files"):
        open_teacher(config_of(weights, models=["small", "large", "large"]), digits(), tmp_path)
    with pytest.raises(TeacherError, match=r"large.safetensors has the shape .16, 1, 3, 3., but the network"):
        open_teacher(config_of(weights, models=["small"]), digits(), tmp_path)


class NeedsLayers(SoftTargets):
    teacher_layers = ("network.high",)


def test_code_without_weights_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="name those with --teacher"):
        open_teacher(SearchConfig(teacher_model="net.py:small"), digits(), tmp_path)
    with pytest.raises(TeacherError, match=r"a\.onnx is a whole network"):
        open_teacher(SearchConfig(teacher="a.onnx", teacher_model="net.py:small"), digits(), tmp_path)


def test_a_file_may_name_one_teacher_or_several(tmp_path):
    for written, expected in (("a.onnx", ("a.onnx",)), (["builtin", "a.onnx=2"], ("builtin", "a.onnx=2"))):
        (tmp_path / "search.yaml").write_text(yaml.safe_dump({"teacher": written}))
        config = load_config(tmp_path / "search.yaml", {})
        assert config.teacher == expected
        (tmp_path / "again.yaml").write_text(config.to_yaml())
        assert load_config(tmp_path / "again.yaml", {}) == config


def test_paths_are_anchored_with_their_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.onnx").touch()
    config = SearchConfig(teacher=("a.onnx=0.7", "builtin:seed=1", "google/vit")).anchored()
    assert config.teacher == (f"{tmp_path}/a.onnx=0.7", "builtin:seed=1", "google/vit")


def test_what_needs_a_teacher_is_refused_without_one():
    with pytest.raises(ConfigError, match=r"none leaves soft-targets nobody .* \(hard-labels, self, mutual\)"):
        check_names(SearchConfig(teacher="none"))
    with pytest.raises(ConfigError, match="unknown way to combine teachers 'men': did you mean 'mean'"):
        SearchConfig(combine="men")
    assert check_names(SearchConfig(teacher="none", distill="self"))


def test_a_search_without_a_teacher_ends_in_students_and_a_report(workplace):
    short = ("--trials", "1", "--workers", "1", "--epochs", "1", "--final-epochs", "1", "--finalists", "1")
    options = ("--teacher", "none", "--distill", "mutual", "--name", "alone", "--compare-scratch")
    done = call_here(workplace, "search", "--data", "shapes", "--space", "mlp", *short, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    store = RunStore.open(workplace / "results" / "runs" / "alone")
    assert not store.facts()["teacher"]
    figures = store.students()[0].measurements
    assert {"test_accuracy", "scratch_accuracy", "latency"} <= figures.keys()
    assert "agreement" not in figures
    assert (store.path / "report.html").exists()
    for command in ("show", "resume"):
        again = call_here(workplace, command, str(store.path))
        assert again.returncode == 0, again.stdout + again.stderr


def test_an_assistant_needs_a_teacher_and_a_width():
    with pytest.raises(ConfigError, match="an assistant learns from a teacher, and there is to be none"):
        SearchConfig(teacher="none", distill="self", assistant="auto")
    with pytest.raises(ConfigError, match="auto or a width above 0 and at most 4, but got 'wide'"):
        SearchConfig(assistant="wide")
