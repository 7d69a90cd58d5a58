"""The networks that compilers are compared on: nobody's here, by configurations of transformers, and our students.

Weights are random but seeded, so that every process builds the same network. Statistics of batch norms are those
of random inputs, so that activations keep their size and an error anywhere shows in the output.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

TOKENS = 1000
"""Token ids are drawn below this, which every vocabulary has."""

SETTLING = 16
"""Inputs that the statistics of batch norms are taken from."""

SPACES = ("mobile", "residual", "nni:MobileNetV3Space", "nni:ShuffleNetSpace")
SIZES = (32, 224)
STUDENTS = 3
CLASSES = 100


@dataclass(frozen=True)
class Network:
    """A network of the comparison: ``make`` builds it untrained, ``example`` draws its one input.

    ``group`` is ``reference`` for networks of others and ``student`` for those of our spaces.
    """

    make: Callable[[], nn.Module]
    example: Callable[[torch.Generator], Tensor]
    group: str = "reference"

    def build(self) -> tuple[nn.Module, Tensor]:
        """The network in evaluation mode and its input, the same in every process."""
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            network = self.make().eval().requires_grad_(False)
            generator = torch.Generator().manual_seed(0)
            _settle_batch_norms(network, torch.cat([self.example(generator) for _ in range(SETTLING)]), generator)
            return network, self.example(generator)


class OneOutput(nn.Module):
    """A network of transformers as one that returns a single tensor, the named field of its answer."""

    def __init__(self, network: nn.Module, field: str, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = network
        self.field = field
        self.options = dict(options)

    def forward(self, x: Tensor) -> Tensor:
        answer = self.network(x, **self.options)
        return answer if isinstance(answer, Tensor) else getattr(answer, self.field)


def _of_transformers(model: str, config: str, field: str = "logits", call: Any = (), **settings: Any) -> nn.Module:
    import transformers

    configuration = getattr(transformers, config)(**settings)
    return OneOutput(getattr(transformers, model)(configuration), field, dict(call))


def _sound_front() -> nn.Module:
    from transformers import Wav2Vec2Config
    from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2FeatureEncoder

    return OneOutput(Wav2Vec2FeatureEncoder(Wav2Vec2Config()), "", {})


def _student(spec: str, size: int, number: int) -> nn.Module:
    """The student of the first value of every choice (number 0) or a random one, at full resolution."""
    from spaces.catalogue import load_space
    from spaces.space import RESOLUTION, first_choice, random_choice

    space = load_space(spec, channels=3, image_size=size, classes=CLASSES)
    choice = dict(random_choice(space, random.Random(number)) if number else first_choice(space))
    if RESOLUTION in choice:
        choice[RESOLUTION] = size
    return space.build(choice)


def _settle_batch_norms(network: nn.Module, inputs: Tensor, generator: torch.Generator) -> None:
    """Draw scales and shifts, and take the statistics of the inputs."""
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.weight.uniform_(0.5, 1.5, generator=generator)
        norm.bias.normal_(0, 0.2, generator=generator)
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    if norms:
        network(inputs)
    for norm in norms:
        norm.running_var.clamp_(min=1e-3)
        norm.momentum = 0.1
        norm.eval()


def _image(size: int, generator: torch.Generator) -> Tensor:
    return torch.randn((1, 3, size, size), generator=generator)


def _tokens(count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(TOKENS, (1, count), generator=generator)


def _sound(samples: int, generator: torch.Generator) -> Tensor:
    return torch.randn((1, samples), generator=generator)


def _vision(model: str, size: int, **settings: Any) -> Network:
    make = partial(
        _of_transformers, f"{model}ForImageClassification", f"{model}Config", num_labels=1000, **settings
    )
    return Network(make, partial(_image, size))


def _language(model: str, count: int, **settings: Any) -> Network:
    make = partial(_of_transformers, f"{model}Model", f"{model}Config", "last_hidden_state", **settings)
    return Network(make, partial(_tokens, count))


_SMALL_BERT = {"num_hidden_layers": 4, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}
_TINY_VIT = {"hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768}
_RESNET_18 = {"depths": [2, 2, 2, 2], "hidden_sizes": [64, 128, 256, 512], "layer_type": "basic"}
_B0 = {"width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280, "image_size": 224}
_SEGFORMER = partial(_of_transformers, "SegformerForSemanticSegmentation", "SegformerConfig", num_labels=150)

REFERENCES: Mapping[str, Network] = {
    "mobilenetv1": _vision("MobileNetV1", 224),
    "mobilenetv2": _vision("MobileNetV2", 224),
    "mobilenetv2-96": _vision("MobileNetV2", 96),
    "mobilenetv2-0.35": _vision("MobileNetV2", 224, depth_multiplier=0.35),
    "mobilenetv2-0.35-96": _vision("MobileNetV2", 96, depth_multiplier=0.35),
    "efficientnet-b0": _vision("EfficientNet", 224, **_B0),
    "resnet-18": _vision("ResNet", 224, **_RESNET_18),
    "resnet-50": _vision("ResNet", 224),
    "vit-tiny": _vision("ViT", 224, **_TINY_VIT),
    "mobilevit-small": _vision("MobileViT", 256),
    "segformer-b0": Network(_SEGFORMER, partial(_image, 224)),
    "bert-4x256": _language("Bert", 128, **_SMALL_BERT),
    "distilbert": _language("DistilBert", 128),
    "gpt2-64": _language("GPT2", 64, call={"use_cache": False}),
    "wav2vec2-front": Network(_sound_front, partial(_sound, 16000)),
}

STUDENTS_OF_OURS: Mapping[str, Network] = {
    f"{spec.removeprefix('nni:').removesuffix('Space').lower()}-{size}-{number}": Network(
        partial(_student, spec, size, number), partial(_image, size), "student"
    )
    for spec in SPACES
    for size in SIZES
    for number in range(STUDENTS)
}

NETWORKS: Mapping[str, Network] = {**REFERENCES, **STUDENTS_OF_OURS}
