"""What a search quantises: which layers of a choice's network, and how wide their weights are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from evaluators.compile.integers import weight_bits
from evaluators.quantise.phases import calibrate
from evaluators.quantise.prepare import prepare
from hw_profiles.profile import Profile
from spaces.choice import Value
from spaces.precision import FLOAT, group_of
from understudy import ConfigError


@dataclass(frozen=True)
class Precision:
    """Weights of ``weight_bits`` in all layers but those of groups that the choice leaves in float32."""

    weight_bits: int

    @staticmethod
    def of_profiles(profiles: Sequence[Profile]) -> Precision:
        """What all the profiles' processors multiply fast; raises ``ConfigError`` for a GPU."""
        for profile in profiles:
            if profile.gpu is not None:
                raise ConfigError(
                    f"the profile {profile.name} runs students on its GPU, and nothing compiles integers for GPUs "
                    "yet: leave --quantise out"
                )
        return Precision(min(map(weight_bits, profiles)))

    def prepare(self, network: nn.Module, choice: Mapping[str, Value], images: Tensor) -> None:
        """Make the network of a choice one that simulates integers, its ranges taken from a few images.

        Good enough for what it costs; the training calibrates again.
        """

        def wanted(name: str) -> bool:
            group = group_of(name, choice)
            return group is None or choice[group] != FLOAT

        prepare(network, images, self.weight_bits, wanted)
        calibrate(network, [images])
