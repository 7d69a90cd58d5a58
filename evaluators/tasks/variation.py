"""A prepared task under another augmentation, beside the first."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from evaluators.tasks.augment import Augment
from evaluators.tasks.image_task import ImageTask
from understudy import DataError


def with_augment(task: ImageTask, augment: Augment) -> ImageTask:
    """The task with this augmentation, in a folder of its own beside the task's, whose files it shares.

    The task itself is left as it is, since its owner may open it again. Raises ``DataError`` when the folder
    cannot be made.
    """
    if augment == task.augment:
        return task
    fingerprint = hashlib.blake2b(f"{task.fingerprint}\n{augment}".encode(), digest_size=12).hexdigest()
    folder = task.folder.with_name(f"{fingerprint}-{task.folder.name}")
    try:
        if not (folder / "task.json").exists():
            _lay_out(replace(task, folder=folder, augment=augment, fingerprint=fingerprint), task.folder)
    except OSError as error:
        raise DataError(
            f"cannot prepare the data in {folder.parent} ({error}): free some space there, or leave out --augment"
        ) from error
    return type(task).open(folder)


def _lay_out(varied: ImageTask, source: Path) -> None:
    """The folder of a task from another one's files by hard links, whole from the start."""
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=source.parent))
    try:
        hidden = shutil.ignore_patterns(".*", "task.json")
        shutil.copytree(source, draft, copy_function=os.link, ignore=hidden, dirs_exist_ok=True)
        replace(varied, folder=draft).save()
        if not varied.folder.exists():
            draft.rename(varied.folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
