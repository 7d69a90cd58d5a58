"""Tasks on pictures whose answers are maps: a class, or more, for each place of grids over the whole picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evaluators.tasks.image_task import ImageTask
from results.bundle import runner
from spaces.scales import answer_shape, grid


@dataclass(frozen=True)
class MapTask(ImageTask):
    """See ``ImageTask``; pictures are scaled whole. Answers are (channels, G, G), G of ``spaces.scales.grid``.

    Where there are several maps, of ``map_sides``, they are (channels, P, 1): all places, map after map.
    """

    dense: ClassVar[bool] = True

    @property
    def map_channels(self) -> int:
        """Channels of an answer: the classes, and what else it tells."""
        return self.class_channels

    @property
    def map_sides(self) -> tuple[int, ...]:
        """See ``Task.map_sides``."""
        return (grid(self.image_size),)

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """Of the answer to a picture: (channels, G, G)."""
        return answer_shape(self.map_channels, self.image_size, True)

    @property
    def sizes(self) -> dict[str, Any]:
        """See ``Task.sizes``."""
        return {**super().sizes, "classes": self.map_channels, "dense": True}

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Of every training picture it is known what it shows."""
        return np.ones(self.size("train"), bool)

    def scaled(self, picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        """See ``ImageTask.scaled``: nothing is cropped."""
        return runner.stretch(picture, size)

    def preprocess(self, resolution: int) -> dict[str, Any]:
        """See ``ImageTask.preprocess``; nothing is cropped, and answers have ``grid`` places a side."""
        return {**super().preprocess(resolution), "grid": grid(self.image_size)}
