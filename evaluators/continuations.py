"""How teacher and student go on with the same beginnings, for people to read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from evaluators.tasks.language_task import LanguageTask
from results.bundle.continuation import Array, Continuation, Program
from results.bundle.runner import TEMPERATURE
from results.store import write_atomically
from spaces.decoder import Decoder
from spaces.language import decoder_of

FILE = "continuations.json"
COUNT = 6
"""Beginnings."""


def write_continuations(task: LanguageTask, student: nn.Module, teacher: nn.Module | None, path: Path) -> None:
    """Write the first halves of windows of the test split, spread over it, and how they go on, as JSON.

    Of each: ``prompt``; ``text``, the second half as it was written; ``student`` and ``teacher``, as long, drawn
    from what they hold for likely by a seed (None where there is no teacher, or one that is no ``Decoder``).
    """
    numbers = np.unique(np.linspace(0, task.size("test") - 1, COUNT).astype(int))
    half = task.image_size // 2
    rows = []
    for number, window in zip(numbers, task.batch("test", numbers, task.image_size).tolist(), strict=True):
        said = {"prompt": task.tokenizer.text(window[:half]), "text": task.tokenizer.text(window[half:])}
        networks = {"student": decoder_of(student), "teacher": None if teacher is None else decoder_of(teacher)}
        more = {
            name: None if decoder is None else _gone_on(task, decoder, window[:half], int(number))
            for name, decoder in networks.items()
        }
        rows.append({**said, **more})
    write_atomically(path, json.dumps(rows, ensure_ascii=False, indent=1).encode())


def _gone_on(task: LanguageTask, decoder: Decoder, prompt: list[int], seed: int) -> str:
    """As many tokens more as fill a window, or fewer where the text ends."""
    decoder.eval().cpu()
    cache = np.zeros(decoder.cache_shape, np.float32)
    continuation = Continuation(_program(decoder.prefill), _program(decoder.step), cache, 0)
    count = task.image_size - len(prompt)
    return task.tokenizer.text(continuation.go_on(prompt, count, TEMPERATURE, seed, task.tokenizer.end))


def _program(way: Callable[..., tuple[Tensor, Tensor]]) -> Program:
    """A way to ask a decoder, of arrays."""

    def program(*inputs: Array) -> tuple[Array, Array]:
        with torch.inference_mode():
            first, second = way(*map(torch.from_numpy, inputs))
        return first.numpy(), second.numpy()

    return program
