from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from distiller_contract import digits, teacher

from evaluators.distill.teacher_outputs import TeacherOutputs, compute_outputs
from evaluators.tasks.augment import Augment
from evaluators.teachers.teacher import Teacher
from understudy import TeacherError


class Counting(Teacher):
    """Answers with the first pixels of each image and counts the images; may break off."""

    name, classes, channels, resolution, fingerprint = "counting", 10, 1, 16, "counting"

    def __init__(self, limit=10**9, change=None):
        self.seen, self.limit, self.change = 0, limit, change

    def logits(self, images):
        self.seen += len(images)
        if self.seen > self.limit:
            raise KeyboardInterrupt
        answer = self._answer(images)
        return answer if self.change is None else self.change(answer)

    def _answer(self, images):
        return images[:, 0, 4:14, 6].clone()


def images_in(views):
    task = digits()
    return (1 + views) * task.size("train") + task.size("val") + task.size("test")


def test_they_are_the_teachers_answers_to_clean_and_augmented_images(tmp_path):
    task = digits()
    stored = compute_outputs(teacher(), task, views=1, cache=tmp_path)
    ids = np.arange(50, 60)
    for split, view in (("val", 0), ("test", 0), ("train", 0), ("train", 1)):
        expected = teacher().logits(task.images(split, ids, 16, view))
        np.testing.assert_allclose(stored.logits(split, view)[ids], expected, atol=1e-5)
    assert not np.allclose(stored.logits("train", 0), stored.logits("train", 1))


def test_they_are_computed_once_and_more_views_are_added(tmp_path):
    first, again, more = Counting(), Counting(), Counting()
    compute_outputs(first, digits(), views=1, cache=tmp_path)
    compute_outputs(again, digits(), views=1, cache=tmp_path)
    compute_outputs(more, digits(), views=2, cache=tmp_path)
    assert (first.seen, again.seen, more.seen) == (images_in(1), 0, digits().size("train"))


def test_views_that_change_nothing_cost_nothing(tmp_path):
    plain, counting = replace(digits(), augment=Augment()), Counting()
    for views in (2, 5):
        stored = compute_outputs(counting, plain, views=views, cache=tmp_path)
    assert counting.seen == images_in(0)
    np.testing.assert_array_equal(stored.logits("train", 5), stored.logits("train", 0))
    assert not compute_outputs(counting, digits(), views=0, cache=tmp_path).folder.samefile(stored.folder)


def test_a_kill_costs_only_the_file_in_hand(tmp_path):
    before = digits().size("val") + digits().size("test")
    with pytest.raises(KeyboardInterrupt):
        compute_outputs(Counting(limit=before + 200), digits(), views=1, cache=tmp_path)
    rest = Counting()
    compute_outputs(rest, digits(), views=1, cache=tmp_path)
    assert rest.seen == images_in(1) - before


def test_a_torn_file_is_computed_again(tmp_path):
    stored = compute_outputs(Counting(), digits(), views=0, cache=tmp_path)
    file = stored.folder / "val.npy"
    file.write_bytes(file.read_bytes()[:1000])
    again = Counting()
    compute_outputs(again, digits(), views=0, cache=tmp_path)
    assert again.seen == digits().size("val")


def test_a_folder_opens_without_the_teacher_as_mapped_memory(tmp_path):
    made = compute_outputs(Counting(), digits(), views=0, cache=tmp_path)
    logits = TeacherOutputs(made.folder, 0).logits("train")
    assert isinstance(logits, np.memmap)
    assert (logits.shape, logits.dtype) == ((digits().size("train"), 10), np.float32)


def test_another_teacher_has_its_own_folder(tmp_path):
    other = Counting()
    other.fingerprint = "other"
    folders = {compute_outputs(t, digits(), views=0, cache=tmp_path).folder for t in (Counting(), other)}
    assert len(folders) == 2


def test_progress_counts_images_up_to_all(tmp_path):
    heard = []
    compute_outputs(Counting(), digits(), views=1, cache=tmp_path, progress=lambda *now: heard.append(now))
    counts = [done for done, _ in heard]
    assert counts == sorted(counts)
    assert heard[-1] == (images_in(1), images_in(1))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda logits: logits / 0 * 0, "weights or its input scaling are damaged"),
        (lambda logits: logits[:, :4], "one a label of the data"),
    ],
)
def test_a_broken_teacher_is_refused(tmp_path, change, text):
    with pytest.raises(TeacherError, match=text):
        compute_outputs(Counting(change=change), digits(), views=0, cache=tmp_path)
    assert not list(tmp_path.rglob("*.npy"))


def test_what_was_not_computed_is_named(tmp_path):
    stored = compute_outputs(Counting(), digits(), views=0, cache=tmp_path)
    with pytest.raises(TeacherError, match=r"train-3\.npy cannot be read"):
        stored.logits("train", 3)
    assert torch.from_numpy(np.array(stored.logits("test"))).isfinite().all()
