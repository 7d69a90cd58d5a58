from __future__ import annotations

from contextlib import ExitStack, nullcontext

import numpy as np
import onnx
import pytest
import torch
from distiller_contract import ConvNet, digits, outputs, teacher
from torch import nn

from evaluators.distill import feature_store
from evaluators.distill.catalogue import load_distiller
from evaluators.distill.feature_store import store_features, stored_features
from evaluators.distill.features import FeatureCapture, as_map, in_form
from evaluators.distill.matching import paired, trace_layers
from evaluators.distill.methods.response import SoftTargets
from evaluators.distill.schedule import Schedule
from evaluators.distill.teacher_signals import teacher_signals
from evaluators.distill.trainer import seeded, train_student
from evaluators.onnx_twin import export_onnx
from evaluators.teachers.residual import ResidualNet
from evaluators.teachers.teacher import ModuleTeacher, Normalised
from spaces.catalogue import load_space
from understudy import ConfigError, TeacherError

SHORT = Schedule(1, batch_size=64, views=0)


class Tokens(nn.Module):
    """As a vision transformer: 4 x 4 patches and a class token through layers of one resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 12, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, 12))
        self.layers = nn.ModuleList(nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 12)) for _ in range(8))
        self.head = nn.Linear(12, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(images), -1, -1), tokens], dim=1)
        for layer in self.layers:
            tokens = tokens + layer(tokens)
        return self.head(tokens[:, 0])


def stages(network, size):
    found = trace_layers(network, torch.zeros(1, 1, size, size), "student")
    return [(layer.name, layer.side) for layer in found.stages], found.embedding.name


def smallest(name):
    space = load_space(name, channels=1, image_size=16, classes=10)
    with seeded(0):
        return space.build(space.smallest())


def test_stages_end_where_the_resolution_changes():
    assert stages(ConvNet(1, 8, 10), 16) == ([("low", 8), ("high", 4)], "head.1")
    assert stages(ResidualNet(1, 10, 16), 16)[0] == [
        ("blocks.0", 16),
        ("blocks.1", 8),
        ("blocks.2", 4),
        ("head.1", 2),
    ]
    assert stages(ResidualNet(1, 10, 16), 16)[1] == "head.3"


@pytest.mark.parametrize("name", ["mobile", "residual"])
def test_stages_of_a_student_are_whole_blocks(name):
    network = smallest(name)
    found, embedding = stages(network, 16)
    assert [side for _, side in found] == sorted({side for _, side in found}, reverse=True)
    assert all(layer.startswith("stages") or layer == "stem" for layer, _ in found)
    assert embedding == found[-1][0]


def test_a_network_of_one_resolution_has_stages_by_depth():
    found, embedding = stages(Tokens(), 16)
    assert [side for _, side in found] == [4] * 4
    assert found[-1][0] == embedding == "layers.7"


def test_a_student_that_ends_in_single_places_is_compared_where_it_has_maps():
    assert stages(ConvNet(1, 8, 10), 4) == ([("low", 2)], "head.1")
    assert stages(ConvNet(1, 8, 10), 2) == ([("head.1", 1)], "head.1")


def test_a_network_without_layers_is_refused():
    class Opaque(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :10]

    with pytest.raises(ConfigError, match="no layer of the student gives a feature map"):
        stages(Opaque(), 16)


def test_stages_are_paired_by_relative_depth_and_the_last_with_the_last():
    assert paired("abc", "ABC") == [("a", "A"), ("b", "B"), ("c", "C")]
    assert paired("ab", "ABCD") == [("a", "B"), ("b", "D")]
    assert len(paired("abcdefgh", "ABCDEFGH")) == 4
    assert paired("abcdefgh", "ABCDE")[-1] == ("h", "E")


def test_forms_of_a_feature():
    features = torch.randn(2, 3, 8, 8)
    assert in_form(features, "") is features
    assert torch.allclose(in_form(features, "1"), features.mean((2, 3)))
    blocks = features.reshape(2, 3, 4, 2, 4, 2).mean((3, 5))
    assert torch.allclose(in_form(features, "4"), blocks, atol=1e-6)
    assert in_form(features, "16").shape == features.shape
    assert torch.allclose(in_form(features, "attention").flatten(1).norm(dim=1), torch.ones(2))
    tokens = torch.cat([torch.full((2, 1, 3), 9.0), features.flatten(2).transpose(1, 2)], dim=1)
    assert torch.equal(as_map(tokens), features)
    assert in_form(features[:, :, 0, 0], "1").shape == (2, 3)


def attached(text, student=None):
    return load_distiller(text).attached(student or ConvNet(1, 8, 10), teacher(), torch.rand(1, 1, 8, 8))


def test_named_layers_are_taken_and_unknown_ones_answered_with_the_nearest():
    lesson = attached("attention:student=low.0+high,teacher=low+network.high.2")
    assert lesson.student_layers == ("low.0@attention", "high@attention")
    assert lesson.teacher_layers == ("network.low@attention", "network.high.2@attention")
    with pytest.raises(ConfigError, match=r"the student has no layer 'hihg': the nearest are high"):
        attached("hints:student=hihg,teacher=high")
    with pytest.raises(ConfigError, match=r"the teacher has no layer 'hgh': the nearest are network.high"):
        attached("hints:student=high,teacher=hgh")


@pytest.mark.parametrize("stages", ["all", "last", "middle"])
def test_the_choice_of_stages(stages):
    assert len(attached(f"hints:stages={stages}").student_layers) == (2 if stages == "all" else 1)


def test_networks_of_any_kind_are_compared():
    wide = ModuleTeacher(
        Normalised(Tokens(), [0.5], [0.5]), name="tokens", classes=10, channels=1, resolution=16, fingerprint="t"
    )
    for text in ("hints:stages=all", "review", "relations", "attention"):
        student = smallest("mobile")
        trained = train_student(
            student,
            digits(),
            resolution=8,
            distiller=load_distiller(text),
            teacher_outputs=None,
            schedule=SHORT,
            seed=0,
            teacher=wide,
        )
        assert trained.val_accuracy > 0


def test_a_teacher_without_layers_is_refused_with_what_works():
    class Closed(ModuleTeacher):
        def __init__(self):
            self.name, self.module = "closed.onnx", None

    with pytest.raises(
        TeacherError, match="has no layers for distiller 'hints': use a method that compares outputs"
    ):
        load_distiller("hints").attached(ConvNet(1, 8, 10), Closed(), torch.rand(1, 1, 8, 8))


class Counting(ModuleTeacher):
    """The teacher of the contract, with a count of the images that its network saw."""

    def __init__(self) -> None:
        known = teacher()
        super().__init__(
            known.module, name="c", classes=10, channels=1, resolution=16, fingerprint=known.fingerprint
        )
        self.seen = 0
        self.handle = self.module.register_forward_hook(self._count)

    def _count(self, module, inputs, output):
        self.seen += len(output)


def signals(distiller, view=1):
    """Signals of a few training images as a training gets them, and how many images the teacher saw for them."""
    counting = Counting()
    ids = np.array([5, 3, 7])
    with ExitStack() as stack:
        stack.callback(counting.handle.remove)
        source = teacher_signals(distiller, digits(), outputs(), counting, "cpu", stack)
        source.open(view, nullcontext)
        return source(ids, view), counting.seen


def test_features_are_stored_once_and_then_read(monkeypatch):
    distiller = SoftTargets()
    object.__setattr__(distiller, "teacher_layers", ("network.high.0@2", "network.low.0@attention"))
    first, seen = signals(distiller)
    again, later = signals(distiller)
    assert seen > digits().size("train")
    assert later == 1
    monkeypatch.setattr(feature_store, "LIMIT", 0)
    live, anew = signals(distiller, view=2)
    assert anew < 200
    stored = outputs().folder / "features"
    assert len(list(stored.glob("*-1.npy"))) >= 2
    monkeypatch.undo()
    after, _ = signals(distiller, view=2)
    for name, features in live.features.items():
        assert torch.equal(first.features[name], again.features[name])
        assert torch.allclose(features, after.features[name], atol=2e-3)
    assert torch.allclose(live.logits, after.logits, atol=1e-4)


def test_what_does_not_fit_or_breaks_leaves_nothing_behind(tmp_path, monkeypatch):
    good = {"a@1": np.ones((2, 3), np.float32)}
    assert stored_features(tmp_path, ["a@1"], 0, 4) is None
    with pytest.raises(KeyboardInterrupt):
        store_features(tmp_path, lambda: _broken(good), 0, 4)
    assert not list(tmp_path.iterdir())
    with monkeypatch.context() as patched:
        patched.setattr(feature_store, "LIMIT", 0)
        assert not store_features(tmp_path, lambda: iter([good, good]), 0, 4)
        patched.setattr(feature_store, "LIMIT", 30)  # room for 12 values in float16, and not in float32
        assert not store_features(tmp_path, lambda: iter([{"wide@1": np.full((4, 3), 1e6, np.float32)}]), 0, 4)
    assert not list(tmp_path.glob("*.npy"))
    assert store_features(tmp_path, lambda: iter([good, good]), 0, 4)
    assert stored_features(tmp_path, ["a@1"], 0, 4)["a@1"].shape == (4, 3)
    assert stored_features(tmp_path, ["a@1"], 0, 5) is None


def test_a_layer_beyond_float16_is_kept_in_float32_after_one_more_pass(tmp_path):
    part = {"a@1": np.full((4, 3), 1e6, np.float32), "b@1": np.ones((4, 2), np.float32)}
    seen = []

    def teacher_pass():
        seen.append(part)
        yield part

    for view, passes in ((0, 2), (1, 3)):
        assert store_features(tmp_path, teacher_pass, view, 4)
        assert len(seen) == passes
        found = stored_features(tmp_path, ["a@1", "b@1"], view, 4)
        assert [array.dtype for array in found.values()] == [np.float32, np.float16]
        assert all(np.array_equal(found[name], part[name]) for name in part)


def _broken(part):
    yield part
    raise KeyboardInterrupt


def test_the_exported_student_is_the_student_alone(tmp_path):
    with seeded(0):
        network = ConvNet(1, 8, 10)
    train_student(
        network,
        digits(),
        resolution=8,
        distiller=load_distiller("hints"),
        teacher_outputs=outputs(),
        schedule=SHORT,
        seed=0,
        teacher=teacher(),
    )
    export_onnx(network, torch.rand(1, 1, 8, 8), tmp_path / "taught.onnx")
    export_onnx(ConvNet(1, 8, 10).eval(), torch.rand(1, 1, 8, 8), tmp_path / "fresh.onnx")
    taught, fresh = (onnx.load(tmp_path / f"{name}.onnx").graph for name in ("taught", "fresh"))
    assert [node.op_type for node in taught.node] == [node.op_type for node in fresh.node]
    assert {w.name: tuple(w.dims) for w in taught.initializer} == {
        w.name: tuple(w.dims) for w in fresh.initializer
    }


def test_hooks_of_forms_are_gone_after_the_capture():
    network = ConvNet(1, 8, 10)
    with FeatureCapture(network, ["low@2"]) as capture:
        network(torch.rand(2, 1, 8, 8))
        assert capture.features["low@2"].shape == (2, 8, 2, 2)
    assert not network.low._forward_hooks
