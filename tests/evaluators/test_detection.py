"""Pictures with boxes: as data in three forms, as what each place is taught, and how they are judged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from map_contract import a_student_learns_from_the_builtin_teacher

from evaluators.tasks.average_precision import average_precision
from evaluators.tasks.box_targets import IGNORED, assign, moved
from evaluators.tasks.detection_task import DetectionTask
from evaluators.tasks.load import load_task
from evaluators.tasks.opening import open_task
from results.bundle.boxes import BESIDE, REACH, places
from spaces.catalogue import load_space
from tests.mask_pictures import draw_boxes
from understudy import DataError

SIZE, SIDES = 32, (8, 4)
VOC = """<annotation><filename>{name}</filename><size><width>40</width><height>32</height></size>
<object><name>{label}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>
</bndbox></object></annotation>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return draw_boxes(tmp_path_factory.mktemp("boxed"), 24)


@pytest.fixture(scope="module")
def task(folder, tmp_path_factory) -> DetectionTask:
    loaded = load_task(str(folder), cache=tmp_path_factory.mktemp("cache"), seed=0, image_size=SIZE)
    assert isinstance(loaded, DetectionTask)
    return loaded


def ideal(boxes: list[np.ndarray], classes: int) -> torch.Tensor:
    """The answers that say just what is given."""
    assigned, (x, y, length) = assign(boxes, SIDES), torch.from_numpy(places(SIDES))
    made = torch.full((len(boxes), 1 + classes + BESIDE, len(x)), -8.0)
    made[:, : 1 + classes].scatter_(1, assigned.classes.clamp(min=0)[:, None], 8.0)
    left, top, right, bottom = assigned.corners.unbind(1)
    away = torch.stack([x - left, y - top, right - x, bottom - y], 1).clamp(min=1e-3)
    made[:, -BESIDE:-1] = (away / (REACH * length)).log()
    made[:, -1] = 8
    return made[..., None]


def test_boxes_become_shares_of_their_pictures(task, folder):
    assert task.labels == ("square", "disc")
    assert task.answer_shape == (1 + 2 + 5, 8 * 8 + 4 * 4, 1)
    held = json.loads((folder / "boxes.json").read_text())["annotations"]
    first = int(np.load(task.folder / "order.npy")[0])
    left, top, wide, high = next(each["bbox"] for each in held if each["image_id"] == first)
    expected = [left / 40, top / 32, (left + wide) / 40, (top + high) / 32]
    assert task.targets("train")[0][0, 1:] == pytest.approx(expected)
    assert open_task(task.folder) == task


def test_the_middle_of_a_box_is_its_own_on_the_maps_for_its_size():
    middling, small, large = [1, 0.25, 0.25, 0.75, 0.75], [0, 0.4, 0.4, 0.41, 0.41], [1, 0, 0.1, 1, 0.9]
    assigned = assign([np.array([middling, small], np.float32), np.array([large], np.float32)], SIDES)
    fine, coarse = assigned.classes[:, :64].view(2, 8, 8), assigned.classes[:, 64:].view(2, 4, 4)
    assert fine[0, 3, 3] == 1 + 0, "the smaller box has its one place"
    assert (fine[0, 3:5, 3:5].flatten()[1:] == 1 + 1).all()
    assert (fine[0] > 0).sum() == 4
    assert fine[0, 2, 2] == IGNORED, "a rim may be either"
    assert fine[0, 0, 0] == 0
    assert (coarse[0] != 0).sum() == 0, "where it has two places it is not looked for"
    assert (fine[1, 2:6, 2:6] == 1 + 1).all()
    assert (coarse[1, 1:3, 1:3] == 1 + 1).all()
    assert (coarse[1] > 0).sum() == 4
    assert assigned.corners[1, :, 64 + 5].tolist() == pytest.approx(large[1:])
    known = assigned.weights[assigned.classes > 0]
    assert float(known.mean()) == pytest.approx(1)
    assert assigned.weights[0, 8 * 3 + 3] == known.max(), "the only place of its box counts most"


def test_boxes_move_as_their_pictures_do(task):
    ids = np.arange(8)
    for view in (1, 2, 3):
        bright = task.images("train", ids, SIZE, view).mean(1).numpy()
        matrices = task.augment.matrices(ids, view, task.seed).numpy()
        for picture, boxes in zip(
            bright, moved([task.targets("train")[index] for index in ids], matrices), strict=True
        ):
            for _, left, top, right, bottom in boxes:
                inside = picture[
                    int(top * SIZE) + 2 : int(bottom * SIZE) - 1, int(left * SIZE) + 2 : int(right * SIZE) - 1
                ]
                assert inside.size == 0 or inside.mean() > picture.mean() + 0.15


def test_the_score_is_cocos_average_precision(task):
    given = task.targets("val")
    assert task.score(ideal(given, 2), given) > 0.85
    assert task.score(torch.zeros(len(given), *task.answer_shape), given) < 0.01
    box, other = np.array([[0, 0.1, 0.1, 0.5, 0.5]], np.float32), np.array([[0, 0.6, 0.6, 0.9, 0.9]], np.float32)
    found = [np.insert(box, 1, 0.9, axis=1), np.insert(other, 1, 0.8, axis=1)]
    assert average_precision(found, [box, other], 1) == pytest.approx(1)
    assert average_precision(found, [box, box], 1) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("method", ["soft-targets", "hard-labels", "object-features"])
def test_a_student_learns_boxes(task, tmp_path, method):
    space = load_space("detect", **task.sizes)
    a_student_learns_from_the_builtin_teacher(task, space, method, tmp_path)


def as_voc(source: Path, made: Path) -> None:
    held = json.loads((source / "boxes.json").read_text())
    names = {each["id"]: each["name"] for each in held["categories"]}
    shutil.copytree(source / "images", made / "JPEGImages")
    (made / "Annotations").mkdir()
    for each in held["annotations"]:
        left, top, wide, high = each["bbox"]
        number = each["image_id"]
        text = VOC.format(
            name=f"{number}.png",
            label=names[each["category_id"]],
            left=left,
            top=top,
            right=left + wide,
            bottom=top + high,
        )
        (made / "Annotations" / f"{number}.xml").write_text(text)


def as_yolo(source: Path, made: Path) -> None:
    held = json.loads((source / "boxes.json").read_text())
    shutil.copytree(source / "images", made / "images")
    (made / "labels").mkdir()
    (made / "data.yaml").write_text("names: [square, disc]\n")
    for each in held["annotations"]:
        left, top, wide, high = each["bbox"]
        line = (
            f"{each['category_id'] - 7} {(left + wide / 2) / 40} {(top + high / 2) / 32} {wide / 40} {high / 32}\n"
        )
        (made / "labels" / f"{each['image_id']}.txt").write_text(line)


@pytest.mark.parametrize("convert", [as_voc, as_yolo])
def test_other_forms_hold_the_same(task, folder, tmp_path, convert):
    convert(folder, tmp_path / "data")
    other = load_task(str(tmp_path / "data"), cache=tmp_path / "cache", seed=0, image_size=SIZE)
    assert set(other.labels) == {"square", "disc"}
    assert held(other) == held(task)


def held(task: DetectionTask) -> list[tuple[str, float, float, float, float]]:
    """All boxes by the names of their classes, in an order of their own."""
    every = np.concatenate([box for split in ("train", "val", "test") for box in task.targets(split)])
    return sorted((task.labels[int(box[0])], *np.round(box[1:].astype(float), 3).tolist()) for box in every)


def test_data_that_do_not_fit_are_named(folder, tmp_path):
    data, cache = shutil.copytree(folder, tmp_path / "data"), tmp_path / "cache"
    held = json.loads((data / "boxes.json").read_text())

    def refused(match: str) -> None:
        (data / "boxes.json").write_text(json.dumps(held))
        with pytest.raises(DataError, match=match):
            load_task(str(data), cache=cache, seed=0, image_size=SIZE)

    good = held["annotations"][3]["bbox"]
    held["annotations"][3]["bbox"] = [30, 4, 30, 8]
    refused(r"box 1 of 3\.png in .*boxes\.json reaches out of its picture .* 1 images have such boxes")
    kept = load_task(str(data), cache=cache, seed=0, image_size=SIZE, on_bad="skip")
    assert sum(kept.counts.values()) == 23
    held["annotations"][3]["bbox"] = [4, 4, 0, 8]
    refused("has no size")
    held["annotations"][3]["bbox"] = good
    held["annotations"][3]["category_id"] = 99
    refused("is not as COCO writes its boxes")
    held["annotations"][3]["category_id"] = 7
    held["images"][0]["file_name"] = "nowhere.png"
    refused(r"the picture nowhere\.png is not in")


def test_boxes_and_masks_at_once_are_refused(folder, tmp_path):
    as_voc(folder, tmp_path)
    shutil.copytree(tmp_path / "JPEGImages", tmp_path / "SegmentationClass")
    with pytest.raises(DataError, match="holds both masks and boxes"):
        load_task(str(tmp_path), cache=tmp_path / "cache", seed=0)


def test_entities_in_xml_are_refused(folder, tmp_path):
    as_voc(folder, tmp_path)
    file = tmp_path / "Annotations" / "0.xml"
    file.write_text('<!DOCTYPE a [<!ENTITY b "c">]>' + file.read_text())
    with pytest.raises(DataError, match="it declares entities"):
        load_task(str(tmp_path), cache=tmp_path / "cache", seed=0)
