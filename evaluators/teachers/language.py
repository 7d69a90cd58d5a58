"""Teachers that go on with texts: a small GPT trained here, or a GPT-2 from its ``transformers`` folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from evaluators.distill.schedule import Schedule
from evaluators.tasks.bytepairs import read_bytepairs
from evaluators.tasks.language_task import LanguageTask
from evaluators.teachers.teacher import ModuleTeacher, hash_weights
from spaces.blocks import EMBEDDING_STD
from spaces.decoder import Decoder
from understudy import TeacherError

LAYERS, WIDTH, HEAD, DROPOUT = 4, 192, 32, 0.2
"""Of the teacher that is trained here: layers, width, the width of a head, and what is dropped while it learns."""
TOKENS = 3_000_000
"""Tokens that its training sees by default, in 8 to 40 times the text."""
_RATE, _DECAY = 1e-3, 0.1
_GELUS = {"gelu_new": True, "gelu_pytorch_tanh": True, "gelu": False}
"""GPT-2's activations by name: whether they are approximated."""
_WEIGHTS, _CONFIG = "model.safetensors", "config.json"


def small_gpt(task: LanguageTask) -> Decoder:
    """The untrained teacher of a task, its weights drawn from torch's generator as GPT-2's are."""
    network = Decoder(
        task.channels, task.image_size, WIDTH, WIDTH, WIDTH // HEAD, 4, LAYERS, dropout=DROPOUT, tanh=True
    )
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=EMBEDDING_STD)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    return network


def language_schedule(task: LanguageTask, epochs: int | None) -> Schedule:
    """The training of the built-in teacher; ``epochs`` overrules its length."""
    length = task.epochs(TOKENS, 8, 40) if epochs is None else epochs
    return Schedule(length, task.windows_a_step, _RATE, _DECAY, views=0, optimiser=task.optimiser)


def load_language_teacher(spec: str, task: LanguageTask) -> ModuleTeacher:
    """The GPT-2 in a ``transformers`` folder with safetensors weights; none of its code runs.

    Raises ``TeacherError`` when it cannot be had, is of another kind, sees fewer tokens at once than the task has,
    or cuts texts differently.
    """
    folder = Path(spec).expanduser()
    if not folder.is_dir():
        raise TeacherError(
            f"there is no teacher folder {spec}: name one that holds a GPT-2 and its tokenizer (save_pretrained), "
            "or leave --teacher out"
        )
    if read_bytepairs(folder).pieces != task.tokenizer.pieces:
        raise TeacherError(
            f"the vocabulary of {spec} is not the one that the text was cut by: name it as the first --teacher, "
            "and no other with another vocabulary"
        )
    network = _gpt2(folder, task)
    return ModuleTeacher(
        network,
        name=folder.name,
        classes=task.classes,
        channels=task.channels,
        resolution=task.image_size,
        fingerprint=hash_weights(network),
    )


def _gpt2(folder: Path, task: LanguageTask) -> Decoder:
    """GPT-2's weights in our decoder, its table of places cut to the task's window."""
    try:
        facts: dict[str, Any] = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        held = {name.removeprefix("transformer."): each for name, each in load_file(folder / _WEIGHTS).items()}
        network = _untrained(facts, folder, task)
        network.load_state_dict(dict(_renamed(held, network, task)))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TeacherError(
            f"{folder} cannot be loaded as a GPT-2 of transformers with {_WEIGHTS} ({line}): check the path, or "
            "save it again with save_pretrained"
        ) from error
    return network


def _untrained(facts: Mapping[str, Any], folder: Path, task: LanguageTask) -> Decoder:
    if facts.get("model_type") != "gpt2" or facts.get("activation_function", "gelu_new") not in _GELUS:
        raise TeacherError(
            f"{folder} holds a {facts.get('model_type')}, but students learn to go on with texts from a GPT-2: "
            "name one, or leave --teacher out"
        )
    if facts.get("scale_attn_by_inverse_layer_idx") or not facts.get("scale_attn_weights", True):
        raise TeacherError(f"{folder} scales attention in a way of its own, which is not known here: name another")
    if facts["n_positions"] < task.image_size:
        raise TeacherError(
            f"teacher {folder} sees {facts['n_positions']} tokens at once, but the data have windows of "
            f"{task.image_size}: --image-size {facts['n_positions']}"
        )
    if facts["vocab_size"] < task.channels:
        raise TeacherError(
            f"teacher {folder} has {facts['vocab_size']} tokens, but its tokenizer {task.channels}: save both "
            "again together"
        )
    width = int(facts["n_embd"])
    feed, rest = divmod(int(facts.get("n_inner") or 4 * width), width)
    if rest:
        raise TeacherError(f"{folder} has a feed-forward part that is no multiple of its width: name another")
    tanh = _GELUS[facts.get("activation_function", "gelu_new")]
    return Decoder(
        task.channels, task.image_size, width, width, int(facts["n_head"]), feed, int(facts["n_layer"]), tanh=tanh
    )


_NAMES = {
    "ln_1": "before",
    "attn.c_attn": "attend",
    "attn.c_proj": "mix",
    "ln_2": "between",
    "mlp.c_fc": "expand",
    "mlp.c_proj": "contract",
}
"""Parts of a layer by GPT-2's names: ours."""


def _renamed(held: Mapping[str, Tensor], network: Decoder, task: LanguageTask) -> Iterator[tuple[str, Tensor]]:
    """GPT-2's tensors by our names; its products hold their weights the other way round."""
    yield "words.weight", held["wte.weight"][: task.channels].float()
    yield "places.weight", held["wpe.weight"][: task.image_size].float()
    for end in ("weight", "bias"):
        yield f"norm.{end}", held[f"ln_f.{end}"].float()
        for layer in range(len(network.layers)):
            for theirs, ours in _NAMES.items():
                tensor = held[f"h.{layer}.{theirs}.{end}"].float()
                turned = tensor.ndim == 2
                yield f"layers.{layer}.{ours}.{end}", tensor.t().contiguous() if turned else tensor
