"""Teachers of spoken words from ``transformers`` that take the waveform (wav2vec 2.0, HuBERT, WavLM ...)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evaluators.tasks.waveform_task import WaveformTask
from evaluators.teachers.pretrained import class_names, label_order, network_of, preprocessor_facts
from evaluators.teachers.teacher import ModuleTeacher, first_tensor, hash_weights
from understudy import TeacherError

_LEAST_VARIANCE = 1e-7
"""That of ``transformers``' own preparation of waveforms."""


class OfWaveforms(nn.Module):
    """A ``transformers`` network as the rest of Understudy sees it: waveforms in, logits in the data's order out.

    With ``standardise`` each is given mean 0 and variance 1 first. ``order[i]`` is the network's output for the
    data's class i (None: as they are).
    """

    def __init__(self, network: nn.Module, order: list[int] | None, standardise: bool) -> None:
        super().__init__()
        self.network, self.order, self.standardise = network, order, standardise

    def extra_repr(self) -> str:
        """What happens around the network, so that it is part of the hash."""
        return f"order={self.order}, standardise={self.standardise}"

    def forward(self, waveforms: Tensor) -> Tensor:
        """(N, samples) in -1..1 -> (N, classes)."""
        if self.standardise:
            variance, mean = torch.var_mean(waveforms, dim=1, correction=0, keepdim=True)
            waveforms = (waveforms - mean) / (variance + _LEAST_VARIANCE).sqrt()
        logits = first_tensor(self.network(waveforms))
        return logits if self.order is None else logits[:, self.order]


def load_speech_teacher(spec: str, task: WaveformTask) -> ModuleTeacher:
    """The audio classifier in a ``transformers`` folder or of that id; no code of the model's runs.

    Its classes are matched to the task's by name when both have the same names, by number otherwise. Raises
    ``TeacherError`` when it cannot be had, takes features instead of the waveform, or hears another rate.
    """
    from transformers import AutoModelForAudioClassification

    network: Any = network_of(spec, AutoModelForAudioClassification, "audio classifier")
    facts = preprocessor_facts(spec)
    if int(facts.get("feature_size", 1)) != 1 or "num_mel_bins" in facts:
        raise TeacherError(
            f"{spec} takes features and not the waveform ({facts.get('feature_extractor_type')}): save a "
            "torch.export program that computes them, too"
        )
    rate = int(facts.get("sampling_rate", task.sample_rate))
    if rate != task.sample_rate:
        raise TeacherError(
            f"teacher {spec} hears {rate} samples a second, but the recordings have {task.sample_rate}: convert "
            "them, or use another teacher"
        )
    order = label_order(class_names(network.config), task.labels)
    module = OfWaveforms(network, order, bool(facts.get("do_normalize", False)))
    return ModuleTeacher(
        module,
        name=Path(spec).name,
        classes=task.classes,
        channels=task.channels,
        resolution=task.image_size,
        fingerprint=hash_weights(module),
    )
