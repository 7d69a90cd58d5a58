"""Teachers of questions about pictures: a network trained here, or a ``transformers`` ViLT from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evaluators.distill.schedule import MANY, Schedule
from evaluators.tasks.question_task import QuestionTask
from evaluators.tasks.vocabulary import read_vocabulary
from evaluators.teachers.pretrained import class_names, network_of, normalisation, preprocessor_facts
from evaluators.teachers.residual import Block
from evaluators.teachers.teacher import ModuleTeacher, Normalised, first_tensor, hash_weights
from understudy import TeacherError

LAYERS, HEAD, DROPOUT = 2, 32, 0.1
"""Of the reader of questions of the teacher that is trained here: layers, the width of a head, and what is dropped
while it learns."""
FIRST, FUSED, LARGEST = 32, 64, 32
"""Of its reader of pictures: channels of the first stage and of the fusion, and the most pixels a side that the
first stage sees."""
WIDTH, WIDE = 128, 256
"""The width of that reader with few questions, and with ``MANY``."""


SAMPLES = 80_000
"""Questions that its training sees by default, in 12 to 40 epochs: to look for what is asked is learnt late."""


def question_schedule(samples: int, epochs: int | None = None) -> Schedule:
    """The training of that teacher on ``samples`` questions; ``epochs`` overrules its length."""
    length = min(40, max(12, round(SAMPLES / samples))) if epochs is None else epochs
    return Schedule(length, 32 if samples < MANY else 128, 1e-3, 0.01, views=length, optimiser="adamw")


class NormalisedPictures(Normalised):
    """As ``Normalised``, of a network that takes token ids (N, T) beside images in 0..1."""

    def forward(self, images: Tensor, ids: Tensor) -> Tensor:  # type: ignore[override]
        """(N, C, R, R) in 0..1 and int64 (N, T) -> (N, classes)."""
        logits = first_tensor(self.network(self.normalised(images), ids))
        return logits if self.order is None else logits[:, self.order]


class AnswerNet(nn.Module):
    """The architecture of the built-in teacher: residual blocks, a BERT, and blocks on both.

    What the question says scales and shifts the picture's features place by place, twice (FiLM: Perez et al.,
    2018, arXiv:1709.07871). Maps images (N, channels, R, R) and token ids (N, T) to logits (N, classes).
    """

    def __init__(self, task: QuestionTask) -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        width = WIDTH if task.size("train") < MANY else WIDE
        questions = task.questions
        config = BertConfig(
            vocab_size=questions.channels,
            hidden_size=width,
            num_hidden_layers=LAYERS,
            num_attention_heads=width // HEAD,
            intermediate_size=4 * width,
            hidden_dropout_prob=DROPOUT,
            max_position_embeddings=questions.image_size,
        )
        self.reader = BertModel(config, add_pooling_layer=False)
        self.stem, side = nn.Sequential(), task.image_size
        while side > LARGEST or not self.stem:
            before = FIRST if self.stem else task.channels
            self.stem.append(nn.Conv2d(before, FIRST, 3, 2, padding=1, bias=False))
            side = -(-side // 2)
        self.blocks = nn.Sequential(Block(FIRST, 2 * FIRST, 2), Block(2 * FIRST, FUSED, 1))
        side = -(-side // 2)
        self.places = nn.Parameter(torch.zeros(1, FUSED, side, side))
        self.weigh = nn.ModuleList(nn.Linear(width, 2 * FUSED) for _ in range(2))
        self.mix = nn.ModuleList(Block(FUSED, FUSED, 1) for _ in range(2))
        self.head = nn.Sequential(
            nn.BatchNorm2d(FUSED), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(FUSED, task.classes)
        )

    def forward(self, images: Tensor, ids: Tensor) -> Tensor:
        """Logits of a batch."""
        kept = (ids != 0).to(torch.int64)
        read = self.reader(input_ids=ids, attention_mask=kept).last_hidden_state
        shares = kept / kept.sum(1, keepdim=True).clamp(min=1)
        asked = (read * shares[..., None]).sum(1)
        fused = self.blocks(self.stem(images)) + self.places
        for weigh, mix in zip(self.weigh, self.mix, strict=True):
            scale, shift = weigh(asked)[:, :, None, None].chunk(2, dim=1)
            fused = mix(fused * (1 + scale) + shift)
        logits: Tensor = self.head(fused)
        return logits


class OfPatches(nn.Module):
    """A ViLT (Kim et al., 2021, arXiv:2102.03334) that reads all patches of a square image, in their order.

    Its own code draws patches at random, of which nothing depends but the order, and cannot be compiled.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, ids: Tensor) -> Tensor:
        """Normalised images (N, 3, R, R) and token ids (N, T), 0 after the question -> logits."""
        parts: Any = self.network.vilt.embeddings  # type: ignore[union-attr]
        patches = parts.patch_embeddings(images).flatten(2).transpose(1, 2)
        seen = torch.cat([parts.cls_token.expand(len(images), -1, -1), patches], 1) + parts.position_embeddings
        mask = torch.ones_like(seen[:, :, 0], dtype=torch.int64)
        answer = self.network(
            input_ids=ids, attention_mask=(ids != 0).to(torch.int64), image_embeds=seen, pixel_mask=mask
        )
        return first_tensor(answer)


def load_answer_teacher(spec: str, task: QuestionTask) -> ModuleTeacher:
    """The ViLT of visual question answering in a ``transformers`` folder; no code of the model's runs.

    Of its answers those of the task are taken, by name. Raises ``TeacherError`` when it cannot be had, lacks one
    of them, reads fewer tokens than the task has, or cuts questions differently.
    """
    from transformers import ViltForQuestionAnswering

    folder = Path(spec).expanduser()
    if not folder.is_dir():
        raise TeacherError(
            f"there is no teacher folder {spec}: name one that holds a ViLT of visual question answering and its "
            "tokenizer (save_pretrained), or leave --teacher out"
        )
    if read_vocabulary(folder).pieces != task.questions.tokenizer.pieces:
        raise TeacherError(
            f"the vocabulary of {spec} is not the one that the questions were cut by: name it as the --teacher "
            "of a search"
        )
    network: Any = network_of(spec, ViltForQuestionAnswering, "ViLT of visual question answering")
    config = network.config
    if config.max_position_embeddings < task.questions.image_size:
        raise TeacherError(
            f"teacher {spec} reads {config.max_position_embeddings} tokens at most, but questions have up to "
            f"{task.questions.image_size}: shorten them"
        )
    if config.vocab_size < task.questions.channels:
        raise TeacherError(
            f"teacher {spec} has {config.vocab_size} tokens, but its tokenizer {task.questions.channels}: save "
            "both again together"
        )
    mean, std = normalisation(preprocessor_facts(spec), task.pictures, config.num_channels)
    module = NormalisedPictures(OfPatches(network), mean, std, _order(spec, class_names(config), task.labels))
    return ModuleTeacher(
        module,
        name=folder.name,
        classes=task.classes,
        channels=config.num_channels,
        resolution=config.image_size,
        fingerprint=hash_weights(module),
    )


def _order(spec: str, names: Sequence[str], labels: Sequence[str]) -> list[int]:
    """Where each of the task's answers is among the teacher's."""
    places = {" ".join(name.lower().split()): place for place, name in enumerate(names)}
    unknown = [label for label in labels if label not in places]
    if unknown:
        raise TeacherError(
            f"teacher {spec} does not know the answer {unknown[0]!r} ({len(unknown)} of {len(labels)} in all): "
            "leave out those questions, or use another teacher"
        )
    return [places[label] for label in labels]
