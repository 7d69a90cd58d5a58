"""A prepared task of whatever kind, from its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from evaluators.graphs.graph_task import GraphTask
from evaluators.tasks.detection_task import DetectionTask
from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.language_task import LanguageTask
from evaluators.tasks.question_task import QuestionTask
from evaluators.tasks.segmentation_task import SegmentationTask
from evaluators.tasks.task import Task, read_facts
from evaluators.tasks.text_task import TextTask
from evaluators.tasks.vector_task import VectorTask
from evaluators.tasks.waveform_task import WaveformTask

_KINDS: dict[str, Callable[[Path], Task]] = {
    kind.kind: kind.open
    for kind in (
        ImageTask,
        SegmentationTask,
        DetectionTask,
        VectorTask,
        GraphTask,
        WaveformTask,
        TextTask,
        QuestionTask,
        LanguageTask,
    )
}


def open_task(folder: Path) -> Task:
    """The task prepared in a folder; raises ``DataError`` when there is none."""
    return _KINDS[read_facts(folder).get("kind", ImageTask.kind)](folder)
