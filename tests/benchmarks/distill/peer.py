"""The peer: torchdistill's own training box, with networks, batches, optimiser and learning rates as ours.

It runs the teacher in every step, which ours does only for methods that read its layers.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evaluators.distill.distiller import Distiller
from evaluators.distill.evaluate import batches
from evaluators.distill.features import ATTENTION, in_form, pool
from evaluators.distill.layout import lay_out
from evaluators.distill.schedule import Schedule
from evaluators.distill.steps import MAX_GRADIENT_NORM, MOMENTUM
from evaluators.distill.trainer import seeded
from evaluators.tasks.image_task import ImageTask
from tests.benchmarks.distill.setting import Pair

Terms = dict[str, Any]
Captured = Mapping[str, Mapping[str, Tensor]]
"""What the peer's hooks keep, by the name of a layer."""
_SGD = "SGDWithoutDecayOfNorms"
_LOGITS = {
    "student_module_path": "network",
    "student_module_io": "output",
    "teacher_module_path": "network",
    "teacher_module_io": "output",
}
_LABELS = {
    "criterion": {"key": "CrossEntropyLoss", "kwargs": {}},
    "criterion_wrapper": {
        "key": "SimpleLossWrapper",
        "kwargs": {
            "input": {"is_from_teacher": False, "module_path": "network", "io": "output"},
            "target": {"uses_label": True},
        },
    },
}


def _soft_targets(distiller: Any) -> Terms:
    settings = {"temperature": distiller.temperature, "alpha": 1 - distiller.weight, "beta": distiller.weight}
    return {"kd": _term("KDLoss", {**_LOGITS, **settings})}


def _dist(distiller: Any) -> Terms:
    settings = {"beta": distiller.beta, "gamma": distiller.gamma, "tau": distiller.temperature}
    return {"labels": {**_LABELS, "weight": 1.0}, "dist": _term("DISTLoss", {**_LOGITS, **settings})}


def _standardised(distiller: Any) -> Terms:
    weights = {"alpha": distiller.label_weight, "beta": distiller.weight}
    return {"kd": _term("LogitStdKDLoss", {**_LOGITS, "temperature": distiller.temperature, **weights})}


def _attention(distiller: Any) -> Terms:
    pairs = {
        f"pair{number}": {
            "student": {"io": "output", "path": ours},
            "teacher": {"io": "output", "path": theirs},
            "weight": 1,
        }
        for number, (ours, theirs) in enumerate(zip(*_layers(distiller), strict=True))
    }
    return _compared(distiller, "ATLoss", at_pairs=pairs)


def _similarity(distiller: Any) -> Terms:
    return _compared(distiller, "SPKDLoss", **_one_layer(distiller), reduction="batchmean")


def _relations(distiller: Any) -> Terms:
    factors = {"dist_factor": distiller.method.distance, "angle_factor": distiller.method.angle}
    return _compared(distiller, "RKDLoss", **_one_layer(distiller), **factors, reduction="mean")


TERMS: Mapping[str, Callable[[Any], Terms]] = MappingProxyType(
    {
        "soft-targets": _soft_targets,
        "dist": _dist,
        "standardised-targets": _standardised,
        "attention": _attention,
        "similarity": _similarity,
        "relations": _relations,
    }
)
"""The methods that the peer has, too: the terms of its loss from the settings of ours."""


def peer_missing() -> str | None:
    """Why there is no peer, or None when there is one."""
    if importlib.util.find_spec("torchdistill") is None:
        return "torchdistill is not installed (pip install torchdistill): no comparison with it"
    return None


def train_with_peer(
    network: nn.Module,
    task: ImageTask,
    pair: Pair,
    distiller: Distiller,
    schedule: Schedule,
    seed: int,
    step: Callable[[], AbstractContextManager[None]],
) -> None:
    """Train a student in place with the peer, as ``train_student`` would; ``step`` is entered around each step."""
    box_class = _box_class()
    first = task.batch("train", np.arange(1), pair.resolution)
    with seeded(seed):
        lay_out(network, first)
        distiller = distiller.attached(network, pair.teacher, first)
        student, teacher = _Takes(network, 0), _Takes(pair.teacher.module, 1)
        config = _config(TERMS[distiller.name](distiller), distiller, schedule, task)
        box = box_class(teacher, student, {}, config, torch.device("cpu"), None, False, 1)
        box.train_data_loader = ()
        generator = np.random.default_rng(seed)
        for epoch in range(schedule.epochs):
            order = generator.permutation(task.size("train"))
            box.pre_epoch_process(epoch=epoch)
            for ids in batches(order, schedule.batch_size):
                with step():
                    images, targets = _batch(task, pair, ids, schedule.view(epoch))
                    box.pre_forward_process()
                    box.post_forward_process(loss=box.forward_process(images, targets, {}))
            box.post_epoch_process()
    network.eval()


class _Takes(nn.Module):
    """One of the two networks, each of which takes its own size of the same pictures."""

    def __init__(self, network: nn.Module | None, place: int) -> None:
        super().__init__()
        assert network is not None
        self.network, self._place = network, place

    def forward(self, images: Sequence[Tensor]) -> Tensor:
        logits: Tensor = self.network(images[self._place])
        return logits


def _batch(task: ImageTask, pair: Pair, ids: np.ndarray, view: int) -> tuple[tuple[Tensor, Tensor], Tensor]:
    small = task.batch("train", ids, pair.resolution, view)
    large = task.images("train", ids, pair.teacher.resolution, view)
    return (small, large), torch.as_tensor(np.array(task.targets("train")[ids]))


def _config(terms: Terms, distiller: Distiller, schedule: Schedule, task: ImageTask) -> dict[str, Any]:
    steps = len(batches(np.arange(task.size("train")), schedule.batch_size))
    optimiser = {
        "lr": 1.0,
        "momentum": MOMENTUM,
        "nesterov": True,
        "weight_decay": schedule.weight_decay,
        "fused": True,
    }
    return {
        "num_epochs": schedule.epochs,
        "teacher": {"requires_grad": False, **_hooks(distiller.teacher_layers)},
        "student": _hooks(distiller.student_layers),
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {"sub_terms": terms},
            "func2extract_model_loss": "extract_model_loss_dict",
        },
        "optimizer": {"key": _SGD, "kwargs": optimiser, "max_grad_norm": MAX_GRADIENT_NORM},
        "scheduler": {
            "key": "LambdaLR",
            "kwargs": {"lr_lambda": lambda done: schedule.rate(done / steps)},
            "scheduling_step": 1,
        },
    }


def _hooks(layers: Sequence[str]) -> dict[str, Any]:
    wanted = ["network", *(f"network.{layer.partition('@')[0]}" for layer in layers)]
    return {"forward_proc": "forward_batch_only", "forward_hook": {"output": wanted}}


def _term(key: str, settings: Mapping[str, Any], weight: float = 1.0) -> dict[str, Any]:
    return {"criterion": {"key": key, "kwargs": dict(settings)}, "weight": weight}


def _compared(distiller: Any, key: str, **settings: Any) -> Terms:
    """The labels, and a loss of the peer's on layers: those of our method, in the form that it compares."""
    losses = importlib.import_module("torchdistill.losses.mid_level")
    criterion = _Formed(getattr(losses, key)(**settings), distiller)
    return {
        "labels": {**_LABELS, "weight": 1.0},
        "layers": {"criterion": criterion, "weight": distiller.method.weight},
    }


def _layers(distiller: Distiller) -> tuple[Sequence[str], Sequence[str]]:
    return distiller.student_layers, distiller.teacher_layers


def _one_layer(distiller: Distiller) -> Terms:
    (ours,), (theirs,) = _layers(distiller)
    return {"student_output_path": ours, "teacher_output_path": theirs}


class _Formed(nn.Module):
    """Gives a loss of the peer's the layers by our names of them, which say in which form they are compared.

    Maps of a pair are averaged down to the smaller one. The peer squares activations itself, so ``attention`` asks
    for nothing here.
    """

    def __init__(self, criterion: nn.Module, distiller: Distiller) -> None:
        super().__init__()
        self._criterion, self._pairs = criterion, list(zip(*_layers(distiller), strict=True))

    def forward(self, student: Captured, teacher: Captured, targets: Tensor) -> Tensor:
        ours, theirs = {}, {}
        for names in self._pairs:
            maps = [_formed(captured, name) for captured, name in zip((student, teacher), names, strict=True)]
            if maps[0].ndim == 4:
                side = min(each.shape[-1] for each in maps)
                maps = [pool(each, side) for each in maps]
            ours[names[0]], theirs[names[1]] = ({"output": each} for each in maps)
        loss: Tensor = self._criterion(ours, theirs, targets)
        return loss


def _formed(captured: Captured, name: str) -> Tensor:
    layer, _, form = name.partition("@")
    return in_form(captured[f"network.{layer}"]["output"], "" if form == ATTENTION else form)


def _box_class() -> Any:
    """torchdistill's box. It imports torchvision for lists of models and data sets that are of no use here: where
    torchvision is missing, modules without contents stand in."""
    if importlib.util.find_spec("torchvision") is None and not any(isinstance(f, _Empty) for f in sys.meta_path):
        sys.meta_path.append(_Empty())
        importlib.import_module("torchvision.datasets")  # looked for among the modules that are there already
    from torchdistill.core.distillation import DistillationBox
    from torchdistill.optim.registry import register_optimizer

    register_optimizer(key=_SGD)(_sgd)
    logging.getLogger("torchdistill").setLevel(logging.ERROR)
    return DistillationBox


def _sgd(parameters: Sequence[nn.Parameter], weight_decay: float, **settings: Any) -> torch.optim.Optimizer:
    """SGD without weight decay on biases and normalisation, as in ours."""
    groups = [
        {"params": [each for each in parameters if each.ndim > 1], "weight_decay": weight_decay},
        {"params": [each for each in parameters if each.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, **settings)


class _Empty:
    """Finds torchvision and its parts as modules whose every name is an empty class."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        if name.split(".")[0] != "torchvision":
            return None
        return importlib.util.spec_from_loader(name, self, is_package=True)

    def create_module(self, spec: Any) -> ModuleType:
        return _EmptyModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class _EmptyModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (nn.Module,), {})
