"""Pictures with masks: as data, as answers, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from map_contract import a_student_learns_from_the_builtin_teacher
from PIL import Image
from torch.nn import functional

from evaluators.distill.catalogue import load_distiller
from evaluators.distill.methods.layered import Compared
from evaluators.distill.methods.map_features import near_objects
from evaluators.distill.places import each_place, maps
from evaluators.distill.schedule import Schedule
from evaluators.distill.signals import Signals
from evaluators.distill.trainer import train_student
from evaluators.tasks.augment import POLICIES
from evaluators.tasks.load import load_task
from evaluators.tasks.opening import open_task
from evaluators.tasks.segmentation_task import IGNORED, SegmentationTask
from evaluators.teachers.load import load_teacher
from results.bundle.masks import VOID
from spaces.catalogue import load_space
from spaces.space import Space
from tests.mask_pictures import draw
from understudy import ConfigError, DataError, SpaceError

SIZE, GRID = 32, 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return draw(tmp_path_factory.mktemp("masked"), 20)


@pytest.fixture(scope="module")
def task(folder, tmp_path_factory) -> SegmentationTask:
    loaded = load_task(str(folder), cache=tmp_path_factory.mktemp("cache"), seed=0, image_size=SIZE)
    assert isinstance(loaded, SegmentationTask)
    return loaded


@pytest.fixture(scope="module")
def space(task) -> Space:
    return load_space("segment", **task.sizes)


def copy(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "data")


def test_masks_become_classes_at_the_size_of_the_images(task):
    assert task.labels == ("ground", "disc", "box")
    assert task.answer_shape == (3, GRID, GRID)
    assert task.targets("val").shape == (task.size("val"), SIZE, SIZE)
    assert set(np.unique(task.targets("train"))) == {0, 1, 2}
    again = open_task(task.folder)
    assert isinstance(again, SegmentationTask)
    assert again == task
    assert "mIoU" in task.notes[0]
    with pytest.raises(SpaceError, match="gives no masks: use --space segment"):
        load_space("mobile", **task.sizes)


def test_nothing_of_a_picture_is_cropped(tmp_path):
    draw(tmp_path / "wide", 8, size=(32, 64))
    wide = load_task(str(tmp_path / "wide"), cache=tmp_path / "cache", seed=0, image_size=SIZE)
    order = np.load(wide.folder / "order.npy")
    picture = Image.open(tmp_path / "wide" / "images" / f"{order[0]}.png")
    scaled = np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.abs(wide.pixels("train", SIZE)[0].astype(int) - scaled).max() <= 1


def test_a_view_moves_masks_as_it_moves_pictures(task):
    shifted = replace(task, augment=POLICIES["standard"])
    ids = np.arange(6)
    for view in (0, 1, 2):
        bright = shifted.images("train", ids, SIZE, view).mean(1)
        middles = ((torch.arange(GRID) + 0.5) * SIZE / GRID).long()
        at_grid = bright[:, middles][:, :, middles]
        classes = shifted.taught(ids, view)
        assert classes.shape == (6, GRID, GRID)
        assert (
            at_grid[classes == 2].mean() > at_grid[classes == 1].mean() + 0.1 > at_grid[classes == 0].mean() + 0.2
        )


def test_what_is_taught_leans_to_no_side(task):
    ids, mirrored = np.arange(6), replace(task)
    vars(mirrored)["_masks"] = np.array(task.targets("train"))[:, ::-1, ::-1]
    assert (mirrored.taught(ids, 0) == task.taught(ids, 0).flip(1, 2)).all()


def test_the_score_is_the_mean_intersection_over_union(task):
    wanted = task.targets("val")
    ideal = functional.one_hot(torch.from_numpy(np.array(wanted)).long(), 3).permute(0, 3, 1, 2).float()
    assert task.score(ideal, wanted) == 1
    nothing = torch.zeros(len(wanted), 3, GRID, GRID)
    nothing[:, 0] = 1
    ground = float((wanted == 0).mean())
    assert task.score(nothing, wanted) == pytest.approx(ground / 3)
    void = np.where(np.array(wanted) == 2, np.uint8(VOID), wanted)
    assert task.score(ideal, void) == 1, "what is void is not judged"


def test_void_is_not_learnt(folder, tmp_path):
    data = copy(folder, tmp_path)
    (data / "classes.json").write_text(json.dumps({"ground": 0, "disc": 10, "void": "*"}))
    partly = load_task(str(data), cache=tmp_path / "cache", seed=0, image_size=SIZE)
    taught = partly.taught(np.arange(partly.size("train")), 0)
    assert set(taught.unique().tolist()) == {IGNORED, 0, 1}
    logits = torch.randn(2, 2, GRID, GRID, requires_grad=True)
    signals = each_place(Signals(logits, ids=torch.arange(2)), 3)
    load_distiller("hard-labels").loss(signals, Signals.none(), taught[:2].flatten()).total.backward()
    known = (taught[:2] != IGNORED)[:, None].expand(logits.shape)
    assert (logits.grad[~known] == 0).all()
    assert (logits.grad[known] != 0).any()


def test_each_place_is_a_sample_and_maps_are_had_back():
    logits = torch.randn(2, 3, 4, 4)
    rows = each_place(Signals(logits), 3).logits
    assert (rows[5] == logits[0, :, 1, 1]).all()
    assert (maps(rows, 2) == logits.flatten(2)).all()


def test_channel_wise_asks_where_and_not_how_much():
    torch.manual_seed(0)
    teacher = torch.randn(2, 3, 4, 4)
    student, brighter = teacher + torch.randn(2, 3, 1, 1), torch.randn(2, 3, 4, 4)
    method, targets = load_distiller("channel-wise"), torch.zeros(2 * 16, dtype=torch.int64)

    def distance(logits):
        signals = each_place(Signals(logits, ids=torch.arange(2)), 3)
        return method.loss(signals, each_place(Signals(teacher), 3), targets).distillation

    assert distance(student) == pytest.approx(0, abs=1e-5)
    assert distance(brighter) > 0.1


def test_places_that_are_alike_to_the_teacher_are_to_be_alike():
    torch.manual_seed(0)
    teacher = torch.randn(2, 6, 4, 4)
    turned = torch.einsum("dc,bchw->bdhw", torch.linalg.qr(torch.randn(6, 6))[0], teacher)
    compared = load_distiller("pixel-affinity").comparison([turned], [teacher])
    logits = (torch.zeros(32, 3), torch.zeros(32, 3))
    assert compared(Compared([turned], [teacher], logits, None)) == pytest.approx(0, abs=1e-5)
    assert compared(Compared([torch.randn(2, 6, 4, 4)], [teacher], logits, None)) > 0.05


def test_features_are_copied_near_objects_only():
    targets = torch.zeros(1, 4, 4, dtype=torch.int64)
    targets[0, 0, 1] = 2
    assert near_objects(targets.flatten(), (1, 2, 2)).tolist() == [[[1, 0], [0, 0]]]
    assert near_objects(targets.flatten(), (1, 8, 8)).sum() == 4
    both = torch.cat([targets.flatten(), torch.tensor([0, 0, 0, 1])])
    assert near_objects(both, (1, 2, 2), (4, 2)).tolist() == [[[1, 0], [0, 1]]], "of any of two maps"
    compared = load_distiller("object-features").comparison([torch.zeros(1, 3, 4, 4)], [torch.zeros(1, 5, 4, 4)])
    teacher, other = torch.zeros(1, 5, 4, 4), torch.zeros(1, 5, 4, 4)
    other[:, :, 3] = 9.0  # far from the object
    first, second = (
        compared(Compared([torch.zeros(1, 3, 4, 4)], [each], (torch.zeros(16, 3),) * 2, targets.flatten()))
        for each in (teacher, other)
    )
    assert first.item() == second.item()


@pytest.mark.parametrize(
    "method",
    ["channel-wise", "pixel-affinity", "object-features", "soft-targets", "dist", "standardised-targets"],
)
def test_a_student_learns_masks_from_a_teacher(task, space, tmp_path, method):
    a_student_learns_from_the_builtin_teacher(task, space, method, tmp_path)


def test_methods_that_do_not_know_maps_are_refused(task, space):
    with pytest.raises(ConfigError, match=r"'dkd' is not for answers to each place \(masks\)"):
        train_student(
            space.build(space.smallest()),
            task,
            resolution=SIZE,
            distiller=load_distiller("dkd"),
            teacher_outputs=None,
            schedule=Schedule(1),
            seed=0,
        )


def test_data_that_do_not_fit_are_named(folder, tmp_path):
    data, cache = copy(folder, tmp_path), tmp_path / "cache"
    broken = data / "masks" / "3.png"

    def refused(match: str) -> None:
        with pytest.raises(DataError, match=match):
            load_task(str(data), cache=cache, seed=0, image_size=SIZE)

    Image.fromarray(np.full((32, 40), 77, np.uint8)).save(broken)
    refused(r"masks/3\.png has the value 77, which is of no class: name it in classes\.json")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(broken)
    refused(r"masks/3\.png has 8 x 8 pixels, but its image .*3\.png has 40 x 32")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 40, 3), np.uint8)).save(broken)
    refused("is in colours: save masks as grey or palette images")
    broken.write_bytes(b"no picture")
    refused(r"the mask .*3\.png cannot be read")
    kept = load_task(str(data), cache=cache, seed=0, image_size=SIZE, on_bad="skip")
    assert sum(kept.counts.values()) == 19
    assert "1 images with unusable masks were left out" in " ".join(kept.notes)
    broken.unlink()
    refused(r"3\.png has no mask 3\.png")
    (data / "images" / "3.png").unlink()
    (data / "classes.json").write_text("[1")
    refused(r"classes\.json cannot be read")
    with pytest.raises(DataError, match="must be a multiple of 16"):
        load_task(str(folder), cache=cache, seed=0, image_size=50)


def test_splits_may_stand_above_the_folders_or_within(folder, tmp_path):
    for split, count in (("train", 10), ("val", 4)):
        draw(tmp_path / "above" / split, count)
        for name in ("images", "masks"):
            shutil.copytree(tmp_path / "above" / split / name, tmp_path / "within" / name / split)
    for data in (tmp_path / "above", tmp_path / "within"):
        loaded = load_task(str(data), cache=tmp_path / "cache", seed=0)
        assert loaded.labels == ("background", "class 10", "class 20", "class 21")
        assert (loaded.counts["val"], sum(loaded.counts.values())) == (4, 14)


def test_a_segformer_teaches_by_the_names_of_its_classes(task, tmp_path):
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    labels = ("box", "ground", "disc")
    names = {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}
    sizes = {"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1], "decoder_hidden_size": 16}
    torch.manual_seed(0)
    network = SegformerForSemanticSegmentation(SegformerConfig(**sizes, **names)).eval()
    network.save_pretrained(tmp_path / "segformer")
    teacher = load_teacher(str(tmp_path / "segformer"), None, task)
    images = task.images("val", np.arange(2), SIZE)
    with torch.inference_mode():
        expected = network(task.normalise(images)).logits[:, [1, 2, 0]]
    assert expected.shape[1:] == task.answer_shape
    assert torch.allclose(teacher.logits(images), expected, atol=1e-5)
