"""What a search quantises: which layers of a choice's network, and how wide their weights are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from evaluators.compile.integers import weight_bits
from evaluators.quantise.phases import calibrate, set_simulating
from evaluators.quantise.prepare import prepare
from evaluators.quantise.weights import prepare_weights
from hw_profiles.profile import Profile
from spaces.choice import Value
from spaces.precision import FLOAT, group_of
from understudy import ConfigError

WEIGHTS = {"int8-weights": 8, "int4-weights": 4}
"""Settings of ``--quantise`` by which weights alone are whole numbers, with their bits."""


@dataclass(frozen=True)
class Precision:
    """Weights of ``weight_bits`` in all layers but those of groups that the choice leaves in float32.

    With ``weights_only`` the layers compute in float32 (``weights.py``).
    """

    weight_bits: int
    weights_only: bool = False

    @staticmethod
    def of(quantise: str, profiles: Sequence[Profile]) -> Precision:
        """What ``--quantise`` asks for: integers that all the profiles' processors multiply fast, or ``WEIGHTS``.

        Raises ``ConfigError`` for a GPU.
        """
        for profile in profiles:
            if profile.gpu is not None:
                raise ConfigError(
                    f"the profile {profile.name} runs students on its GPU, and nothing compiles integers for GPUs "
                    "yet: leave --quantise out"
                )
        if quantise in WEIGHTS:
            return Precision(WEIGHTS[quantise], weights_only=True)
        return Precision(min(map(weight_bits, profiles)))

    def prepare(self, network: nn.Module, choice: Mapping[str, Value], images: Tensor) -> None:
        """Make the network of a choice one that simulates integers, its ranges taken from a few images.

        Good enough for what it costs; the training calibrates again.
        """
        if self.weights_only:
            prepare_weights(network, images, self.weight_bits)
            set_simulating(network, True)
            return

        def wanted(name: str) -> bool:
            group = group_of(name, choice)
            return group is None or choice[group] != FLOAT

        prepare(network, images, self.weight_bits, wanted)
        calibrate(network, [images])
