"""Every way in which a teacher comes, with real networks of random weights; nothing from outside runs code."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from evaluators.tasks.augment import POLICIES
from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.images import ArrayImages
from evaluators.tasks.prepare import Samples, create_task
from evaluators.teachers.load import load_teacher
from evaluators.teachers.pretrained import label_order
from evaluators.teachers.teacher import in_batches
from understudy import TeacherError

BUILD = """
from torch import nn
def build():
    pooled = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, {classes})
    return nn.Sequential(nn.Conv2d({channels}, 8, 3), nn.ReLU(), *pooled)
def broken():
    raise RuntimeError("no such thing")
def wrong():
    return 3
"""


def make_task(cache: Path, channels: int = 3) -> ImageTask:
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (30, 32, 32, channels), np.uint8)
    labels = ("cat", "dog", "owl")
    targets = np.arange(30, dtype=np.int64) % 3
    return create_task(
        Samples(ArrayImages(pictures), targets, labels, augment=POLICIES["none"]), cache=cache, seed=0
    )


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> ImageTask:
    return make_task(tmp_path_factory.mktemp("cache"))


def network(classes: int = 3, channels: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(channels, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
    return nn.Sequential(*layers).eval()


def code(folder: Path, classes: int = 3, channels: int = 3) -> str:
    (folder / "net.py").write_text(BUILD.format(classes=classes, channels=channels))
    return f"{folder / 'net.py'}:build"


def expected(net: nn.Module, task: ImageTask) -> torch.Tensor:
    with torch.no_grad():
        return net(task.batch("val", [0, 1, 2], 32))


def asked(teacher_spec: Path | str, model: str | None, task: ImageTask) -> torch.Tensor:
    return load_teacher(str(teacher_spec), model, task).logits(task.images("val", [0, 1, 2], 32))


def export(net: nn.Module, path: Path, batch: int | None = None) -> Path:
    dynamic = None if batch else ({0: torch.export.Dim("batch", min=1, max=512)},)
    torch.export.save(torch.export.export(net, (torch.rand(batch or 2, 3, 32, 32),), dynamic_shapes=dynamic), path)
    return path


def test_safetensors_with_code(task: ImageTask, tmp_path: Path) -> None:
    net = network()
    save_file(net.state_dict(), tmp_path / "t.safetensors")
    torch.testing.assert_close(asked(tmp_path / "t.safetensors", code(tmp_path), task), expected(net, task))


@pytest.mark.parametrize("nested", [False, True])
def test_state_dict_with_code(task: ImageTask, tmp_path: Path, nested: bool) -> None:
    net = network()
    torch.save({"state_dict": net.state_dict()} if nested else net.state_dict(), tmp_path / "t.pth")
    torch.testing.assert_close(asked(tmp_path / "t.pth", code(tmp_path), task), expected(net, task))


def test_code_alone(task: ImageTask, tmp_path: Path) -> None:
    assert asked(code(tmp_path), None, task).shape == (3, 3)


class Bomb:
    def __init__(self, fuse: Path) -> None:
        self.fuse = fuse

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.fuse,)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors", ".pt2", ".onnx"])
def test_pickles_are_refused_and_do_not_run(task: ImageTask, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bomb{suffix}"
    model = None if suffix in (".pt2", ".onnx") else code(tmp_path)
    torch.save({"0.weight": Bomb(tmp_path / "ran")}, path)
    with pytest.raises(TeacherError):
        load_teacher(str(path), model, task)
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(TeacherError):
        load_teacher(str(path), model, task)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("function", "text"),
    [("broken", "RuntimeError: no such thing"), ("wrong", "returned int"), ("bild", "did you mean 'build'")],
)
def test_code_that_does_not_build(task: ImageTask, tmp_path: Path, function: str, text: str) -> None:
    code(tmp_path)
    with pytest.raises(TeacherError, match=text):
        load_teacher(f"{tmp_path / 'net.py'}:{function}", None, task)


def test_weights_that_do_not_fit(task: ImageTask, tmp_path: Path) -> None:
    torch.save({"0.weight": torch.zeros(8, 3, 3, 3), "head": torch.zeros(2)}, tmp_path / "t.pth")
    with pytest.raises(TeacherError, match=r"missing 0.bias, 4.bias, 4.weight; unexpected head"):
        load_teacher(str(tmp_path / "t.pth"), code(tmp_path), task)
    torch.save(network(classes=4).state_dict(), tmp_path / "t.pth")
    with pytest.raises(TeacherError, match=r"4.weight .* has the shape \(4, 8\)"):
        load_teacher(str(tmp_path / "t.pth"), code(tmp_path), task)
    with pytest.raises(TeacherError, match="--teacher-model"):
        load_teacher(str(tmp_path / "t.pth"), None, task)
    with pytest.raises(TeacherError, match="leave out --teacher-model"):
        load_teacher(code(tmp_path), code(tmp_path), task)
    with pytest.raises(TeacherError, match="no teacher file"):
        load_teacher(str(tmp_path / "absent.pth"), None, task)


def test_class_count_and_nan(task: ImageTask, tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="knows 7 classes, but the data have 3"):
        load_teacher(code(tmp_path, classes=7), None, task)
    state = network().state_dict()
    state["4.bias"][0] = float("nan")
    save_file(state, tmp_path / "t.safetensors")
    with pytest.raises(TeacherError, match="NaN"):
        load_teacher(str(tmp_path / "t.safetensors"), code(tmp_path), task)


def test_grey_data_to_a_colour_teacher_and_back(task: ImageTask, tmp_path: Path) -> None:
    grey = make_task(tmp_path / "cache", channels=1)
    teacher = load_teacher(code(tmp_path), None, grey)
    assert (teacher.channels, teacher.logits(grey.images("val", [0], 32)).shape) == (3, (1, 3))
    with pytest.raises(TeacherError, match="grey images, but the data are in colour"):
        load_teacher(code(tmp_path, channels=1), None, task)


@pytest.mark.parametrize("batch", [None, 2])
def test_exported_program(task: ImageTask, tmp_path: Path, batch: int | None) -> None:
    net = network()
    path = export(net, tmp_path / "t.pt2", batch)
    torch.testing.assert_close(asked(path, None, task), expected(net, task))


def rewrite(path: Path, entry: str, change: object) -> None:
    """Replace an entry of an archive: by bytes, or JSON changed by a function."""
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    (name,) = (name for name in held if name.endswith(entry))
    facts = json.loads(held[name])
    change(facts)  # type: ignore[operator]
    held[name] = json.dumps(facts).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for key, content in held.items():
            archive.writestr(key, content)


@pytest.mark.parametrize(
    "target",
    ["torch.ops.aten.from_file.default", "torch.load", "_operator.attrgetter", "math.x"],
)
def test_a_program_cannot_call_what_it_likes(task: ImageTask, tmp_path: Path, target: str) -> None:
    path = export(network(), tmp_path / "t.pt2")
    rewrite(
        path, "models/model.json", lambda facts: facts["graph_module"]["graph"]["nodes"][0].update(target=target)
    )
    with pytest.raises(TeacherError, match="may not"):
        load_teacher(str(path), None, task)


def test_a_program_cannot_hide_code_in_its_facts(task: ImageTask, tmp_path: Path) -> None:
    fuse, net = tmp_path / "ran", network()
    path = export(net, tmp_path / "t.pt2")
    evil = f"__import__('pathlib').Path({str(fuse)!r}).touch()"

    def plant(facts: dict) -> None:
        facts["guards_code"] = [evil]
        graph = facts["graph_module"]["graph"]
        graph["tensor_values"][graph["nodes"][0]["inputs"][0]["arg"]["as_tensor"]["name"]]["sizes"][0] = {
            "as_expr": {"expr_str": evil, "hint": {"as_int": 2}}
        }

    rewrite(path, "models/model.json", plant)
    torch.testing.assert_close(asked(path, None, task), expected(net, task))
    assert not fuse.exists()


def test_a_program_with_pickled_weights_is_refused(task: ImageTask, tmp_path: Path) -> None:
    path = export(network(), tmp_path / "t.pt2")
    rewrite(path, "model_weights_config.json", lambda facts: facts["config"]["0.weight"].update(use_pickle=True))
    with pytest.raises(TeacherError, match="pickled"):
        load_teacher(str(path), None, task)


@pytest.mark.parametrize("dynamic", [True, False])
def test_onnx(task: ImageTask, tmp_path: Path, dynamic: bool) -> None:
    net = network()
    names = {"x": {0: "batch"}} if dynamic else None
    x = torch.rand(2, 3, 32, 32)
    torch.onnx.export(net, (x,), tmp_path / "t.onnx", dynamo=False, input_names=["x"], dynamic_axes=names)
    teacher = load_teacher(str(tmp_path / "t.onnx"), None, task)
    logits = teacher.logits(task.images("val", [0, 1, 2], 32))
    torch.testing.assert_close(logits, expected(net, task), rtol=1e-4, atol=1e-5)
    assert teacher.module is None
    assert teacher.resolution == 32


def test_onnx_that_does_not_fit(task: ImageTask, tmp_path: Path) -> None:
    x = torch.rand(2, 3, 32, 24)
    torch.onnx.export(network(), (x,), tmp_path / "t.onnx", dynamo=False)
    with pytest.raises(TeacherError, match="32x24"):
        load_teacher(str(tmp_path / "t.onnx"), None, task)


def test_fixed_batches_are_filled() -> None:
    def doubled(images: torch.Tensor) -> torch.Tensor:
        assert len(images) == 2
        return 2 * images

    images = torch.rand(5, 1, 2, 2)
    torch.testing.assert_close(in_batches(doubled, images, 2), 2 * images)


def test_labels_are_matched_by_name() -> None:
    assert label_order(["dog", "Owl", "cat"], ("cat", "dog", "owl")) == [2, 0, 1]
    assert label_order(["LABEL_0", "LABEL_1"], ("cat", "dog")) is None


def test_fingerprints_tell_weights_apart(task: ImageTask, tmp_path: Path) -> None:
    prints = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        net = nn.Sequential(*network().children())
        net[0].weight.data.normal_(generator=torch.Generator().manual_seed(seed))
        save_file(net.state_dict(), tmp_path / "t.safetensors")
        prints.append(load_teacher(str(tmp_path / "t.safetensors"), code(tmp_path), task).fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_a_torn_program(task: ImageTask, tmp_path: Path) -> None:
    (tmp_path / "t.pt2").write_bytes(io.BytesIO(b"PK\x03\x04 torn").getvalue())
    with pytest.raises(TeacherError, match=r"torch\.export\.save"):
        load_teacher(str(tmp_path / "t.pt2"), None, task)
