"""A ``transformers`` classifier: a model folder or an id on the hub, safetensors only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evaluators.tasks.image_task import ImageTask
from evaluators.teachers.teacher import Normalised, first_tensor, resized
from understudy import TeacherError

_KINDS = {
    False: ("AutoModelForImageClassification", "image classifier"),
    True: ("AutoModelForSemanticSegmentation", "network of semantic segmentation"),
}


def load_pretrained(spec: str, task: ImageTask) -> tuple[Normalised, int]:
    """The network, normalising as its preprocessor says, and its input size in pixels.

    A classifier, or for masks one of semantic segmentation (SegFormer and its kin), whose maps are scaled to the
    task's. Its classes are matched to the task's by name when both have the same names, by number otherwise.
    Raises ``TeacherError`` when it cannot be had.
    """
    import transformers

    if task.kind == "boxes":
        raise TeacherError(
            f"{spec}: a transformers folder cannot teach boxes here: name code that answers with such maps "
            "(file.py:function), or leave --teacher out"
        )
    kind, what = _KINDS[task.dense]
    return _as_it_was_trained(network_of(spec, getattr(transformers, kind), what), spec, task)


def network_of(spec: str, kind: Any, what: str) -> nn.Module:
    """The network in a ``transformers`` folder or of that id, by an auto class of it; ``what`` is what to call it.

    No code of the model's runs, and no pickled weights are read. Raises ``TeacherError`` when it cannot be had.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()  # of tensors loaded, which takes no time
    local = Path(spec).expanduser().is_dir()
    if not local and (spec.startswith((".", "/", "~")) or spec.count("/") > 1):
        raise TeacherError(f"there is no teacher folder or file {spec}: check the path")
    try:
        network, report = kind.from_pretrained(
            str(Path(spec).expanduser()) if local else spec,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=local,
            output_loading_info=True,
            dtype=torch.float32,
        )
    except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
        raise TeacherError(
            f"{spec} cannot be loaded as a transformers {what} with safetensors weights "
            f"({_first_line(error)}): check the path, or save it again with save_pretrained"
        ) from error
    absent = [*report["missing_keys"], *report["mismatched_keys"]]
    if absent:
        raise TeacherError(f"the weights of {spec} lack {absent[0]} ({len(absent)} tensors in all): save it again")
    found: nn.Module = network
    return found


def _as_it_was_trained(network: nn.Module, spec: str, task: ImageTask) -> tuple[Normalised, int]:
    config: Any = network.config
    facts = preprocessor_facts(spec)
    channels = int(getattr(config, "num_channels", None) or 3)
    mean, std = normalisation(facts, task, channels)
    size = _size(facts.get("crop_size") if facts.get("do_center_crop") else facts.get("size"))
    fixed = getattr(config, "image_size", None)
    order = label_order(class_names(config), task.labels)
    if task.dense:  # such networks take pictures of any size, and maps of fewer pixels have less to say
        return Normalised(Scaled(network, task.answer_shape[-1]), mean, std, order), task.image_size
    resolution = size or _size(fixed) or task.image_size
    return Normalised(network, mean, std, order), resolution


def class_names(config: Any) -> list[str]:
    """The names of a ``transformers`` classifier's classes, in the order of its outputs."""
    return [str(config.id2label[number]) for number in sorted(config.id2label)]


class Scaled(nn.Module):
    """A network whose answers are maps, scaled to ``side`` places: (N, C, R, R) -> (N, classes, side, side)."""

    def __init__(self, network: nn.Module, side: int) -> None:
        super().__init__()
        self.network, self.side = network, side

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch."""
        return resized(first_tensor(self.network(images)), self.side)


def label_order(names: Sequence[str], labels: Sequence[str]) -> list[int] | None:
    """Where each of the data's classes is among the teacher's, by name; None unless the names are the same."""
    places = {name.strip().casefold(): place for place, name in enumerate(names)}
    wanted = [label.strip().casefold() for label in labels]
    if len(places) != len(names) or sorted(places) != sorted(wanted):
        return None
    return [places[label] for label in wanted]


def preprocessor_facts(spec: str) -> Mapping[str, Any]:
    """``preprocessor_config.json``, or nothing where a model has none; ``TeacherError`` for a damaged one."""
    from transformers.image_processing_base import ImageProcessingMixin

    path = Path(spec).expanduser()
    if path.is_dir() and not (path / "preprocessor_config.json").is_file():
        return {}
    try:
        facts, _ = ImageProcessingMixin.get_image_processor_dict(str(path) if path.is_dir() else spec)
    except (OSError, json.JSONDecodeError) as error:
        if path.is_dir():
            raise TeacherError(
                f"{path / 'preprocessor_config.json'} cannot be read ({_first_line(error)}): save it again"
            ) from error
        return {}
    return dict(facts)


def normalisation(
    facts: Mapping[str, Any], task: ImageTask, channels: int
) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and std for images in 0..1, by what ``preprocessor_facts`` found.

    A model without a preprocessor takes images as the task's students do.
    """
    if not facts:
        widen = channels if task.channels == 1 else 1
        return list(task.mean) * widen, list(task.std) * widen
    scale = 255 * float(facts.get("rescale_factor", 1 / 255)) if facts.get("do_rescale", True) else 255.0
    if not facts.get("do_normalize", True) or "image_mean" not in facts:
        return [0.0] * channels, [1 / scale] * channels
    return [value / scale for value in facts["image_mean"]], [value / scale for value in facts["image_std"]]


def _size(size: Any) -> int | None:
    """Pixels of the square that a size in one of transformers' forms asks for."""
    if isinstance(size, Mapping):
        size = size.get("height") or size.get("shortest_edge")
    if isinstance(size, (list, tuple)):
        size = size[0]
    return int(size) if size else None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
