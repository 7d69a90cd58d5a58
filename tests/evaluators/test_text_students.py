"""Students of texts: compiled, exported, scored and delivered as those of images are."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from evaluators.compile.compiler import compile_network
from evaluators.compile.importers.network_file import open_network
from evaluators.compile.verify import verify
from evaluators.distill.matching import trace_layers
from evaluators.distill.schedule import search_schedule
from evaluators.distill.steps import make_optimiser
from evaluators.onnx_twin import check_onnx, export_onnx
from evaluators.supernet.course import supernet_schedule
from hw_profiles.profile import load_profile
from results.bundle.runner import CompiledStudent, random_inputs
from spaces.catalogue import load_space
from spaces.space import random_choice
from spaces.supernet import Supernet
from understudy import ConfigError, SpaceError

PIECES, LENGTH = 300, 24
PROFILE = load_profile("x86-host").with_threads(1)


def some_ids(length: int) -> torch.Tensor:
    ids = torch.randint(1, PIECES, (4, length), generator=torch.Generator().manual_seed(0))
    for row, size in zip(ids, (2, 7, length - 1, length), strict=True):
        row[size:] = 0
    return ids


def test_students_compile_and_have_a_twin(tmp_path: Path) -> None:
    space = load_space("text", channels=PIECES, image_size=LENGTH, classes=3, tokens=True)
    choice = random_choice(space, random.Random(3))
    network, ids = space.build(choice).eval(), some_ids(space.resolution(choice))
    compiled = compile_network(network, ids[:1], PROFILE, tmp_path / "student.so")
    assert [str(each) for each in compiled.inputs] == [f"ids int64 1x{ids.shape[1]}"]
    verify(network, CompiledStudent(tmp_path / "student.so", 1), ids)
    export_onnx(network, ids[:1], tmp_path / "student.onnx")
    check_onnx(tmp_path / "student.onnx", network, ids)
    twin = open_network(tmp_path / "student.onnx", {})
    assert random_inputs([each.to_json() for each in twin.inputs])[0].dtype.kind == "i"


def test_padding_changes_no_answer() -> None:
    space = load_space("text", channels=PIECES, image_size=LENGTH, classes=3, tokens=True)
    network = space.build({**space.smallest(), "resolution": LENGTH}).eval()
    ids = some_ids(LENGTH)
    with torch.no_grad():
        whole = network(ids)
        network.stem.places.weight = torch.nn.Parameter(network.stem.places.weight[:7])  # type: ignore[index]
        torch.testing.assert_close(network(ids[:2, :7]), whole[:2])


def test_a_supernet_holds_them() -> None:
    space = load_space("text", channels=PIECES, image_size=LENGTH, classes=3, tokens=True)
    supernet = Supernet.untrained(space)
    for seed in range(3):
        choice = random_choice(space, random.Random(seed))
        assert supernet.inherit(choice).eval()(some_ids(space.resolution(choice))).isfinite().all()


def test_schedules_of_texts_are_for_adam() -> None:
    parameters = [torch.nn.Parameter(torch.ones(2, 2))]
    assert isinstance(make_optimiser(parameters, search_schedule(100, 2, "adamw")), torch.optim.AdamW)
    assert supernet_schedule(100, 2, "adamw").optimiser == "adamw"


def test_methods_of_maps_are_refused() -> None:
    space = load_space("text", channels=PIECES, image_size=16, classes=3, tokens=True)
    with pytest.raises(ConfigError, match="or a method of outputs"):
        trace_layers(space.build(space.smallest()), some_ids(16), "student")


def test_other_spaces_are_refused() -> None:
    for spec in ("mobile", "mlp", "nni:AutoFormer"):
        with pytest.raises(SpaceError, match="not for texts: use --space text"):
            load_space(spec, channels=PIECES, image_size=LENGTH, classes=3, tokens=True)
    with pytest.raises(SpaceError, match="is for texts"):
        load_space("text", channels=3, image_size=32, classes=3)
