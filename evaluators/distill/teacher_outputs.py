"""The teacher's logits of every split and augmented view, computed once and shared by all workers.

Layout of a folder: ``val.npy``, ``test.npy``, ``train.npy`` (clean) and ``train-1.npy`` ... (augmented views),
each float32 (N, classes), or (N, classes, G, G) where answers are maps. Under an augmentation that changes nothing
the views are links to ``train.npy``.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from evaluators.distill.evaluate import batches
from results.store import write_atomically
from understudy import TeacherError

if TYPE_CHECKING:
    from evaluators.tasks.task import Split, Task
    from evaluators.teachers.teacher import Teacher

Progress = Callable[[int, int], None]
Report = Callable[[int], None]
Answer = Callable[["Split", int, Report], np.ndarray]
"""From a split and a view to float32 logits (N, classes), told on the way how many images are done."""
SPLITS: tuple[Split, ...] = ("val", "test", "train")


@dataclass(frozen=True)
class TeacherOutputs:
    """Stored logits of one teacher on one task; opens by path, without the teacher.

    ``folder`` is theirs and ``views`` how many augmented views of the training images they cover.
    """

    folder: Path
    views: int

    def logits(self, split: Split, view: int = 0) -> np.ndarray:
        """Float32 (N, classes), memory-mapped; views above 0 exist for ``train`` only.

        Raises ``TeacherError`` where they were not computed.
        """
        path = self.folder / _file_name(split, view)
        try:
            logits: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise TeacherError(
                f"the teacher's outputs {path} cannot be read ({error}): "
                "`understudy resume` computes what is missing"
            ) from error
        return logits


def compute_outputs(
    teacher: Teacher,
    task: Task,
    *,
    views: int,
    cache: Path,
    progress: Progress | None = None,
) -> TeacherOutputs:
    """The teacher's outputs, computing the files that ``cache`` lacks.

    Each file appears whole or not at all, so a call after a kill resumes where the last one stopped.
    ``progress`` is told images done and images in all. Raises ``TeacherError`` when the teacher gives
    something other than one finite logit a class.
    """

    def answer(split: Split, view: int, report: Report) -> np.ndarray:
        return _answer(teacher, task, split, view, report)

    return fill_outputs(outputs_folder(teacher, task, cache), task, views, answer, progress)


def outputs_folder(teacher: Teacher, task: Task, cache: Path) -> Path:
    """Where the outputs of a teacher on a task are kept."""
    return cache / "teacher-outputs" / _key(teacher.fingerprint, task.fingerprint, str(task.augment))


def fill_outputs(
    folder: Path, task: Task, views: int, answer: Answer, progress: Progress | None = None
) -> TeacherOutputs:
    """The outputs in a folder, asking ``answer`` for the files that it lacks; see ``compute_outputs``."""
    folder.mkdir(parents=True, exist_ok=True)
    outputs = TeacherOutputs(folder, views)
    wanted: list[tuple[Split, int]] = [(split, 0) for split in SPLITS]
    if task.varied:
        wanted += [("train", view) for view in range(1, views + 1)]
    sizes = [len(task.targets(split)) for split, _ in wanted]
    done = 0
    for (split, view), size in zip(wanted, sizes, strict=True):
        report = _shifted(progress, done, sum(sizes))
        if not _is_whole(outputs, split, view, (size, *task.kept_shape(split))):
            write_atomically(folder / _file_name(split, view), _npy(answer(split, view, report)))
        done += size
        report(size)
    if not task.varied:
        _link_views(folder, views)
    return outputs


def _link_views(folder: Path, views: int) -> None:
    for view in range(1, views + 1):
        with suppress(FileExistsError):
            (folder / _file_name("train", view)).symlink_to(_file_name("train", 0))


def _answer(teacher: Teacher, task: Task, split: Split, view: int, report: Report) -> np.ndarray:
    parts: list[np.ndarray] = []
    count = 0
    with torch.inference_mode():
        for ids in batches(np.arange(len(task.targets(split))), task.answered_at_once):
            logits = teacher.logits(task.images(split, ids, teacher.resolution, view)).float().cpu()
            _check(logits.numpy(), (len(ids), *task.answer_shape), teacher.name, split)
            parts.append(task.kept(logits, split, ids).numpy())
            count += len(ids)
            report(count)
    return np.concatenate(parts)


def _check(logits: np.ndarray, shape: tuple[int, ...], name: str, split: Split) -> None:
    if logits.shape != shape:
        raise TeacherError(
            f"teacher {name} gives logits of shape {logits.shape} but must give {shape}, one a label of the data: "
            "use a teacher trained for these labels"
        )
    if not np.isfinite(logits).all():
        rows = logits.reshape(len(logits), -1)
        row = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise TeacherError(
            f"teacher {name} gives {rows[row][:10].tolist()} for an image of {split}: "
            "its weights or its input scaling are damaged"
        )


def _is_whole(outputs: TeacherOutputs, split: Split, view: int, shape: tuple[int, ...]) -> bool:
    try:
        return outputs.logits(split, view).shape == shape
    except TeacherError:
        return False


def _key(*fingerprints: str) -> str:
    return hashlib.sha256("\n".join(fingerprints).encode()).hexdigest()[:16]


def _file_name(split: Split, view: int) -> str:
    return f"{split}-{view}.npy" if view else f"{split}.npy"


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array, dtype=np.float32), allow_pickle=False)
    return buffer.getvalue()


def _shifted(progress: Progress | None, before: int, total: int) -> Report:
    def report(count: int) -> None:
        if progress is not None:
            progress(before + count, total)

    return report
