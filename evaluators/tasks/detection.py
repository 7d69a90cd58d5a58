"""From pictures with boxes as a user has them to a prepared ``DetectionTask`` on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from evaluators.tasks.augment import POLICIES, Augment
from evaluators.tasks.box_folder import Boxed
from evaluators.tasks.dense import lay_out_pictures, map_size, parted
from evaluators.tasks.detection_task import DetectionTask
from evaluators.tasks.images import FileImages
from evaluators.tasks.prepare import LISTED, OnBad, survey
from understudy import DataError

METRIC = "accuracy is COCO's mean average precision (mAP), over overlaps of .5 to .95"


def create_detection_task(
    boxed: Boxed,
    *,
    cache: Path,
    seed: int,
    image_size: int | None = None,
    augment: Augment | None = None,
    on_bad: OnBad = "refuse",
) -> DetectionTask:
    """Prepare pictures with boxes as a task in a folder of ``cache``, or open it there if it was prepared before.

    ``image_size`` is as of ``map_size``. Raises ``DataError`` for pictures that cannot be read and boxes that
    reach out of them (``on_bad="skip"`` leaves such out and notes it), for data without boxes, and for too few
    pictures.
    """
    images = FileImages(boxed.pictures)
    readable, looks, notes = survey(images, on_bad)
    bad = [index for index in readable.tolist() if index in boxed.problems]
    if bad and on_bad == "refuse":
        raise DataError(
            f"{boxed.problems[bad[0]]}; {len(bad)} images have such boxes: mend them, or leave the images out "
            "with --skip-bad"
        )
    kept = [place for place, index in enumerate(readable.tolist()) if index not in boxed.problems]
    numbers, seen = readable[kept], [looks[place] for place in kept]
    if bad:
        listed = "; ".join(boxed.problems[index] for index in bad[:LISTED])
        notes.append(f"{len(bad)} images with unusable boxes were left out: {listed}")
    splits = np.array([boxed.splits[index] for index in numbers])
    parts = parted(splits if splits.any() else None, len(numbers), seed)
    boxes = [boxed.boxes[index].astype(np.float32) for index in numbers]
    trained = {int(label) for index in parts[0] for label in boxes[index][:, 0]}
    absent = [label for number, label in enumerate(boxed.labels) if number not in trained]
    if not trained:
        raise DataError("no training image has a box: check that the boxes belong to the images")
    if absent:
        notes.append(f"no training image shows {', '.join(absent[:LISTED])}")
    ordered = [boxes[index] for index in np.concatenate(parts)]
    standard = replace(POLICIES["standard"], border="zeros")  # a mirrored edge would show what has no box
    return lay_out_pictures(
        DetectionTask,
        images,
        seen,
        numbers,
        parts,
        {"boxes": np.concatenate(ordered), "box_counts": np.array([len(each) for each in ordered], np.int64)},
        labels=boxed.labels,
        size=map_size(image_size, seen),
        augment=standard if augment is None else augment,
        seed=seed,
        notes=[METRIC, *notes],
        cache=cache,
    )
