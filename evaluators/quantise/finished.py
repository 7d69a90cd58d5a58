"""What is to be said of a finished student of whole numbers: how exact it is, what it is worth against float32."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from evaluators.compile.verify import expected_outputs
from evaluators.cost import cost_of, library_name
from evaluators.device import Device
from evaluators.latency.predict.predictor import Predictor
from evaluators.quantise.integer import delivered
from evaluators.quantise.phases import float_epochs
from evaluators.quantise.prepare import kept_in_float, quantised_layers
from evaluators.stages import Stages
from evaluators.workbench import Workbench
from results.goals import IN_FLOAT
from results.measurement import Measurement
from spaces.choice import Choice
from spaces.language import decoder_of
from understudy import CompileError

COMPARED_IMAGES = 64
LEAST_AGREEMENT = 0.95
STEPS = 127
"""Steps of an 8-bit grid from 0 to the largest logit."""


@dataclass(frozen=True)
class Quantised:
    """``figures`` are those of the same network in float32 by the names of the record; ``facts`` are plain data:

    ``weight_bits``, ``weights_only`` where layers compute in float32, ``layers`` (how many have such weights),
    ``in_float`` (those that do not), ``float_epochs`` and ``epochs`` of its training, ``images`` on which the
    compiled student was compared with the simulated one, the share of ``agreement`` (of images, or of places in
    them) and the largest difference of a logit in ``steps`` of an 8-bit grid.
    """

    figures: Mapping[str, Measurement]
    facts: Mapping[str, Any]


def quantised_facts(
    bench: Workbench, choice: Choice, trained: nn.Module, folder: Path, stages: Stages
) -> Quantised:
    """Compare the library in ``folder`` with the network it is of, and compile and time that network in float32.

    Raises ``CompileError`` when they disagree on more images than rounding explains.
    """
    images = bench.task.batch(
        "val", np.arange(min(COMPARED_IMAGES, len(bench.task.targets("val")))), bench.space.resolution(choice)
    )
    layers = quantised_layers(trained)
    facts: dict[str, Any] = {
        "weight_bits": min(layer.weight_bits for layer in layers.values()),
        **({"weights_only": True} if bench.precision is not None and bench.precision.weights_only else {}),
        "layers": len(layers),
        "in_float": list(kept_in_float(trained)),
        "epochs": bench.final_schedule.epochs,
        "float_epochs": float_epochs(bench.final_schedule.epochs),
    }
    target = next((each for each in bench.targets if not isinstance(each.device, Predictor)), None)
    if target is not None and decoder_of(trained) is None:  # a decoder's programs were compared as they were built
        assert not isinstance(target.device, Predictor)
        with stages.stage("verify"):
            network = delivered(trained)
            facts |= compared(target.device, folder / library_name(target.goal), network, images)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        plain = cost_of(bench, bench.space.build(choice), images[:1], Path(scratch), stages)
    figures = {name: plain[name.removeprefix("float_")] for name in _names(bench, plain)}
    return Quantised(figures, facts)


def compared(device: Device, library: Path, network: nn.Module, images: Any) -> dict[str, Any]:
    """``images``, ``agreement`` and ``steps`` of a compiled student; raises ``CompileError`` when it is not it."""
    wanted = expected_outputs(network, images)
    found = np.concatenate([device.run(library, image[None]) for image in images.numpy()])
    agreement = float((found.argmax(1) == wanted.argmax(1)).mean())
    steps = float(np.abs(found - wanted).max() / (np.abs(wanted).max() or 1.0) * STEPS)
    if agreement < LEAST_AGREEMENT:
        judged = "images" if wanted.ndim == 2 else "images (place by place)"
        raise CompileError(
            f"the compiled student answers {1 - agreement:.0%} of {len(images)} {judged} unlike the simulated "
            "one, and rounding explains a few at most: the compiler is at fault, please report this network"
        )
    return {"images": len(images), "agreement": agreement, "steps": steps}


def _names(bench: Workbench, plain: Mapping[str, Measurement]) -> list[str]:
    names = [goal.name(name) for goal in bench.goals.each for name in IN_FLOAT]
    return [name for name in names if name.removeprefix("float_") in plain]
