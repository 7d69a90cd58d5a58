"""What a student loses in float16: simulated on the processor, before a GPU's code computes in it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from evaluators.distill.evaluate import predict_logits
from evaluators.tasks.task import Task
from evaluators.workbench import Workbench
from results.goals import HALF_ACCURACY
from results.measurement import Measurement, unit_of

MOST_LOST = 0.005
"""Accuracy on validation that float16 may cost; a student that loses more is delivered in float32. Of a likelihood
this share of it."""

Guard = Callable[[], AbstractContextManager[object]]


class Half(nn.Module):
    """The network as tensor cores compute it: weights, inputs and every operator's result rounded to float16.

    Sums are in float32 (Micikevicius et al., "Mixed Precision Training", 2018). What is beyond float16's range is
    infinite, as it would be there. The network itself is left as it is; inputs and outputs are float32.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = deepcopy(network)
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter.copy_(parameter.half())

    def forward(self, *inputs: Tensor) -> Tensor:
        """Logits (N, classes) of what the network takes."""
        with _Rounding():  # type: ignore[no-untyped-call]
            halved = (each.half().float() if each.is_floating_point() else each for each in inputs)
            logits: Tensor = self.network(*halved)
        return logits


def keep_precise(
    bench: Workbench, network: nn.Module, resolution: int, single: float
) -> tuple[Workbench, dict[str, Measurement]]:
    """The workbench whose targets compute in float32 if ``network`` loses too much in float16, and what it loses.

    ``single`` is its accuracy on validation in float32. The figures, by the names of the record, are that in
    float16 for each target whose GPU would compute in it; there are none where no target does.
    """
    halves = [target for target in bench.targets if target.profile.in_half]
    if not halves:
        return bench, {}
    found = half_accuracy(network, bench.task, resolution, bench.working)
    unit = unit_of(bench.task.metric)
    lossy = single - found > MOST_LOST * (single if unit == "likelihood" else 1)
    figure = Measurement(found, unit, "estimated", conditions="delivered in float32" if lossy else "")
    figures = {target.goal.name(HALF_ACCURACY): figure for target in halves}
    if not lossy:
        return bench, figures
    precise = (
        replace(each, profile=each.profile.in_single()) if each in halves else each for each in bench.targets
    )
    return replace(bench, targets=tuple(precise)), figures


def half_accuracy(network: nn.Module, task: Task, resolution: int, guard: Guard) -> float:
    """The accuracy on validation, 0..1, of the network in float16; ``guard`` is entered around each batch."""
    logits = predict_logits(Half(network), task, "val", resolution, guard=guard)
    return task.score(logits, task.targets("val"))


class _Rounding(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Rounds every floating-point result to float16 where it lies; a view is of what was rounded before."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        return result if func.is_view else tree_map_only(Tensor, _round, result)


def _round(tensor: Tensor) -> Tensor:
    return tensor.copy_(tensor.half()) if tensor.is_floating_point() else tensor
