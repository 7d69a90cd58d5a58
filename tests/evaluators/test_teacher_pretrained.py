"""``transformers`` model folders as teachers, with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluators.tasks.augment import POLICIES
from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.images import ArrayImages
from evaluators.tasks.prepare import Samples, create_task
from evaluators.teachers.load import load_teacher
from understudy import TeacherError

LABELS = ("cat", "dog", "owl")


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> ImageTask:
    pictures = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), np.uint8)
    targets = np.arange(30, dtype=np.int64) % 3
    samples = Samples(ArrayImages(pictures), targets, LABELS, augment=POLICIES["none"])
    return create_task(samples, cache=tmp_path_factory.mktemp("cache"), seed=0)


def build(kind: str, labels: tuple[str, ...] = LABELS) -> torch.nn.Module:
    torch.manual_seed(0)
    names = {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}
    if kind == "resnet":
        from transformers import ResNetConfig, ResNetForImageClassification

        sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
        return ResNetForImageClassification(ResNetConfig(**sizes, **names)).eval()
    if kind == "mobilenet":
        from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

        config = MobileNetV2Config(image_size=32, depth_multiplier=0.35, **names)
        return MobileNetV2ForImageClassification(config).eval()
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    return ViTForImageClassification(ViTConfig(image_size=48, patch_size=8, **sizes, **names)).eval()


class Logits(torch.nn.Module):
    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images).logits


@pytest.mark.parametrize(("kind", "resolution"), [("resnet", 32), ("mobilenet", 32), ("vit", 48)])
def test_a_folder_without_preprocessor(task: ImageTask, tmp_path: Path, kind: str, resolution: int) -> None:
    network = build(kind)
    network.save_pretrained(tmp_path)
    teacher = load_teacher(str(tmp_path), None, task)
    assert teacher.resolution == resolution
    with torch.no_grad():
        expected = network(task.batch("val", [0, 1], resolution)).logits
    torch.testing.assert_close(teacher.logits(task.images("val", [0, 1], resolution)), expected)


def test_preprocessor_and_label_names_are_obeyed(task: ImageTask, tmp_path: Path) -> None:
    network = build("vit", ("owl", "cat", "dog"))
    network.save_pretrained(tmp_path)
    facts = {"size": {"height": 48, "width": 48}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(facts))
    images = task.images("val", [0, 1], 48)
    with torch.no_grad():
        expected = network((images - 0.5) / 0.25).logits[:, [1, 2, 0]]
    torch.testing.assert_close(load_teacher(str(tmp_path), None, task).logits(images), expected)


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_exported_networks_give_the_same_answers(task: ImageTask, tmp_path: Path, kind: str) -> None:
    network = build(kind)
    size = 48 if kind == "vit" else 32
    program = torch.export.export(Logits(network), (torch.rand(2, 3, size, size),))
    torch.export.save(program, tmp_path / "t.pt2")
    teacher = load_teacher(str(tmp_path / "t.pt2"), None, task)
    assert teacher.resolution == size
    with torch.no_grad():
        expected = network(task.batch("val", [0, 1, 2], size)).logits
    torch.testing.assert_close(teacher.logits(task.images("val", [0, 1, 2], size)), expected)


def test_pickled_weights_are_refused(task: ImageTask, tmp_path: Path) -> None:
    network = build("resnet")
    network.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(TeacherError, match="safetensors"):
        load_teacher(str(tmp_path), None, task)


def test_code_of_a_model_is_refused(task: ImageTask, tmp_path: Path) -> None:
    build("resnet").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {
        "model_type": "mine",
        "auto_map": {"AutoConfig": "mine.C", "AutoModelForImageClassification": "mine.M"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(TeacherError, match="cannot be loaded"):
        load_teacher(str(tmp_path), None, task)
    assert not (tmp_path / "ran").exists()


def test_missing_weights_and_other_classes(task: ImageTask, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    build("resnet", ("a", "b")).save_pretrained(tmp_path)
    with pytest.raises(TeacherError, match="knows 2 classes, but the data have 3"):
        load_teacher(str(tmp_path), None, task)
    state = load_file(tmp_path / "model.safetensors")
    state.pop("classifier.1.weight")
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TeacherError, match=r"lack classifier.1.weight"):
        load_teacher(str(tmp_path), None, task)


def test_neither_a_folder_nor_reachable(task: ImageTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(TeacherError, match="cannot be loaded"):
        load_teacher("nobody/no-such-model-here", None, task)
    with pytest.raises(TeacherError, match="no teacher folder or file"):
        load_teacher("./no-such-folder", None, task)
