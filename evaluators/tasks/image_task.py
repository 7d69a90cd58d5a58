"""Image classification: the data at every resolution, its targets, its score and its preprocessing.

A task lives in a folder of JSON and ``.npy`` files that any process can open::

    task.json          labels, channels, size, mean and std, splits, augmentation, fingerprint, notes
    order.npy          int64 (N,): the source's numbers of train, then val, then test samples
    targets.npy        int64 (N,): their classes, in the same order
    files.json | images.bin + offsets.npy | images.npy       the source (see ``images``)
    pixels-<R>.npy     uint8 (N, C, R, R): all samples at one resolution, made on first use
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from evaluators.tasks.augment import Augment
from evaluators.tasks.images import Images, open_images
from evaluators.tasks.pixels import locked, write_pixels
from evaluators.tasks.task import Split, Task, read_facts
from results.bundle.runner import resize
from results.store import write_atomically

_FACTS = ("kind", "labels", "channels", "image_size", "mean", "std", "counts", "seed", "fingerprint", "notes")


@dataclass(frozen=True)
class ImageTask(Task):
    """Image classification on one prepared data set.

    ``labels``: class names; ``channels``: 1 or 3; ``image_size``: the largest square side in use, pixels;
    ``mean``, ``std``: by channel over the training split, images in 0..1; ``counts``: samples a split;
    ``fingerprint``: a hash of content, split, seed and size; ``notes``: what the user should know of the
    data; ``folder``: where it is prepared (``open`` brings it back in another process).
    """

    kind: ClassVar[str] = "images"
    space: ClassVar[str] = "mobile"

    folder: Path
    labels: tuple[str, ...]
    channels: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    counts: Mapping[str, int]
    augment: Augment
    seed: int
    fingerprint: str
    notes: tuple[str, ...] = ()
    _stores: dict[int, NDArray[np.uint8]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The task prepared in a folder; raises ``DataError`` when there is none."""
        facts = read_facts(folder)
        facts.pop("kind", None)
        sequences = {name: tuple(facts[name]) for name in ("labels", "mean", "std", "notes")}
        return cls(**{**facts, **sequences, "folder": folder, "augment": Augment(**facts["augment"])})

    def save(self) -> None:
        """Write ``task.json``; the folder is complete from then on."""
        facts = {name: getattr(self, name) for name in _FACTS} | {"augment": asdict(self.augment)}
        write_atomically(self.folder / "task.json", json.dumps(facts, indent=1).encode())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).open, (self.folder,)

    def pixels(self, split: Split, resolution: int) -> NDArray[np.uint8]:
        """Pictures of a split, uint8 (N, C, R, R), memory-mapped; made once for all processes."""
        if resolution not in self._stores:
            self.prepare([resolution])
            path = self._store(resolution)
            self._stores[resolution] = np.load(path, mmap_mode="r", allow_pickle=False)
        return self._stores[resolution][self._slice(split)]

    def prepare(self, resolutions: Iterable[int]) -> None:
        """Make the pixels of these resolutions, decoding each picture once.

        Raises ``DataError`` for a picture that cannot be decoded, and when the disk is full.
        """
        with locked(self.folder / ".lock"):
            missing = [size for size in sorted(set(resolutions)) if not self._store(size).exists()]
            if missing:
                stores = {size: self._store(size) for size in missing}
                write_pixels(self._images, self._order, self.channels, stores, self.scaled)

    def scaled(self, picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        """A picture, uint8 (H, W, C), as networks see it, (size, size, C), in the bundle's arithmetic."""
        return resize(picture, size)

    def images(self, split: Split, ids: ArrayLike, resolution: int, view: int = 0) -> Tensor:
        """Pictures by number within a split, float32 (B, C, R, R) in 0..1; view 0 is the clean one."""
        numbers = np.asarray(ids, np.int64)
        scaled = torch.from_numpy(self.pixels(split, resolution)[numbers]).to(torch.float32).div_(255)
        return self.augment.apply(scaled, numbers, view, self.seed)

    def batch(self, split: Split, ids: ArrayLike, resolution: int, view: int = 0) -> Tensor:
        """As ``images``, normalised by the task's mean and std: what a student takes."""
        return self.normalise(self.images(split, ids, resolution, view))

    def normalise(self, images: Tensor) -> Tensor:
        """(N, C, R, R) in 0..1 to the student's input; the arithmetic of the bundle's runner."""
        mean, std = (torch.tensor(figure).view(1, -1, 1, 1) for figure in (self.mean, self.std))
        return (images - mean) / std

    def preprocess(self, resolution: int) -> dict[str, Any]:
        """What a device must do to a picture, for the manifest of a bundle (see ``results.bundle.runner``)."""
        return {
            "channels": self.channels,
            "size": resolution,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def _store(self, resolution: int) -> Path:
        return self.folder / f"pixels-{resolution}.npy"

    @cached_property
    def _images(self) -> Images:
        return open_images(self.folder)
