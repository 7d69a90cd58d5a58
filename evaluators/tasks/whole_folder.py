"""A folder that appears whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from understudy import DataError


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A draft to write a task's arrays into; it becomes ``folder`` at the end unless another process was first.

    Raises ``DataError`` when it cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
        try:
            yield draft
            if not (folder / "targets.npy").exists():
                draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"cannot prepare the data in {folder.parent} ({error.strerror}): free some space there, or put the "
            "runs elsewhere (--runs)"
        ) from error
