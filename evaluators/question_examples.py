"""The pictures and questions that a student answers in another way than its teacher, for people to see."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from evaluators.tasks.question_task import QuestionTask
from evaluators.text_examples import shortened
from evaluators.unlike import most_unlike
from results.store import write_atomically

_COUNT, _LEAST_SIDE = 12, 96


def write_question_examples(
    task: QuestionTask, logits: Tensor, teacher: NDArray[np.float32] | None, path: Path
) -> None:
    """Write the test questions on which student and teacher agree least as ``write_text_examples`` does.

    Each has its ``picture`` beside it, a PNG in base64, as networks see it at the largest size.
    """
    texts, pictures = task.questions.texts("test"), task.pictures.pixels("test", task.image_size)
    numbers = task.picture_of("test")
    rows = [
        {
            "picture": _png(pictures[numbers[each.index]]),
            "text": shortened(texts[each.index]),
            "label": each.label,
            "student": each.student,
            "teacher": each.teacher,
        }
        for each in most_unlike(task, logits, teacher, _COUNT)
    ]
    write_atomically(path, json.dumps(rows, ensure_ascii=False, indent=1).encode())


def _png(picture: NDArray[np.uint8]) -> str:
    """A picture, uint8 (C, R, R), made large enough to be looked at."""
    from PIL import Image

    times = -(-_LEAST_SIDE // picture.shape[-1])
    large = picture.transpose(1, 2, 0).repeat(times, axis=0).repeat(times, axis=1)
    stream = io.BytesIO()
    Image.fromarray(large.squeeze(2) if large.shape[2] == 1 else large).save(stream, "PNG")
    return b64encode(stream.getvalue()).decode("ascii")
