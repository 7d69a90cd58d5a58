"""Teachers of texts: a BERT trained here, or a ``transformers`` text classifier from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evaluators.distill.schedule import MANY
from evaluators.tasks.text_task import TextTask
from evaluators.tasks.vocabulary import read_vocabulary
from evaluators.teachers.pretrained import class_names, label_order, network_of
from evaluators.teachers.teacher import ModuleTeacher, first_tensor, hash_weights
from understudy import TeacherError

LAYERS, HEAD, DROPOUT = 4, 32, 0.2
"""Of the teacher that is trained here: layers, the width of a head, and what is dropped while it learns."""
WIDTH, WIDE = 128, 256
"""Its width with few texts, of which a wider one learns no more, and with ``MANY``."""


class OfTokens(nn.Module):
    """A ``transformers`` network as the rest of Understudy sees it: token ids in, logits in the data's order out.

    What the id 0 fills up is hidden from it. ``order[i]`` is the network's output for the data's class i (None: as
    they are).
    """

    def __init__(self, network: nn.Module, order: list[int] | None = None) -> None:
        super().__init__()
        self.network, self.order = network, order

    def extra_repr(self) -> str:
        """The order, so that it is part of the hash."""
        return f"order={self.order}"

    def forward(self, ids: Tensor) -> Tensor:
        """(N, T) int64 -> (N, classes)."""
        logits = first_tensor(self.network(input_ids=ids, attention_mask=(ids != 0).to(torch.int64)))
        return logits if self.order is None else logits[:, self.order]


def small_bert(task: TextTask) -> nn.Module:
    """The untrained teacher of a task: its weights are drawn from torch's generator."""
    from transformers import BertConfig, BertForSequenceClassification

    width = WIDTH if task.size("train") < MANY else WIDE
    config = BertConfig(
        vocab_size=task.channels,
        hidden_size=width,
        num_hidden_layers=LAYERS,
        num_attention_heads=width // HEAD,
        intermediate_size=4 * width,
        hidden_dropout_prob=DROPOUT,
        max_position_embeddings=task.image_size,
        num_labels=task.classes,
    )
    return OfTokens(BertForSequenceClassification(config))


def load_text_teacher(spec: str, task: TextTask) -> ModuleTeacher:
    """The text classifier in a ``transformers`` folder with safetensors weights; no code of the model's runs.

    Its classes are matched to the task's by name when both have the same names, by number otherwise. Raises
    ``TeacherError`` when it cannot be had, reads fewer tokens than the task has, or cuts texts differently.
    """
    from transformers import AutoModelForSequenceClassification

    folder = Path(spec).expanduser()
    if not folder.is_dir():
        raise TeacherError(
            f"there is no teacher folder {spec}: name one that holds a transformers text classifier and its "
            "tokenizer (save_pretrained), or leave --teacher out"
        )
    if read_vocabulary(folder).pieces != task.tokenizer.pieces:
        raise TeacherError(
            f"the vocabulary of {spec} is not the one that the texts were cut by: name it as the first --teacher, "
            "and no other with another vocabulary"
        )
    network: Any = network_of(spec, AutoModelForSequenceClassification, "text classifier")
    _check(spec, network.config, task)
    module = OfTokens(network, label_order(class_names(network.config), task.labels))
    return ModuleTeacher(
        module,
        name=folder.name,
        classes=task.classes,
        channels=task.channels,
        resolution=task.image_size,
        fingerprint=hash_weights(module),
    )


def _check(spec: str, config: Any, task: TextTask) -> None:
    most, pieces = getattr(config, "max_position_embeddings", None), getattr(config, "vocab_size", task.channels)
    if most is not None and most < task.image_size:
        raise TeacherError(
            f"teacher {spec} reads {most} tokens at most, but texts have up to {task.image_size}: "
            f"--image-size {most}"
        )
    if pieces < task.channels:
        raise TeacherError(
            f"teacher {spec} has {pieces} tokens, but its tokenizer {task.channels}: save both again together"
        )
