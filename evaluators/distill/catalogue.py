"""The ways of teaching by name. A new one is one entry of its family here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from evaluators.distill.distiller import Distiller
from evaluators.distill.method_text import Value, settings_of, split_text, with_settings
from evaluators.distill.methods.channels import ChannelWise
from evaluators.distill.methods.contrastive import Contrastive
from evaluators.distill.methods.correlation import Dist
from evaluators.distill.methods.decoupled import Decoupled
from evaluators.distill.methods.features import AttentionTransfer, Hints, Information, SimilarityPreserving
from evaluators.distill.methods.map_features import ObjectFeatures, PixelAffinity
from evaluators.distill.methods.minilm import MiniLM
from evaluators.distill.methods.mutual import Mutual
from evaluators.distill.methods.on_policy import Gkd
from evaluators.distill.methods.own import ProgressiveSelf
from evaluators.distill.methods.relations import Congruence, Relational, RelationGraph
from evaluators.distill.methods.response import HardDistillation, HardLabels, SoftTargets
from evaluators.distill.methods.review import Review
from evaluators.distill.methods.standard import StandardisedTargets
from evaluators.graphs.structure import LocalStructure
from understudy import ConfigError, unknown_name

FAMILIES: Mapping[str, tuple[type[Distiller], ...]] = MappingProxyType(
    {
        "labels": (HardLabels,),
        "self and peers": (ProgressiveSelf, Mutual),
        "response": (SoftTargets, HardDistillation, Decoupled, Dist, StandardisedTargets),
        "maps": (ChannelWise, PixelAffinity, ObjectFeatures),
        "features": (Hints, AttentionTransfer, SimilarityPreserving, Information, Review, Contrastive),
        "relations": (Relational, RelationGraph, Congruence),
        "texts": (MiniLM, Gkd),
        "graphs": (LocalStructure,),
    }
)
"""What methods learn from, and the methods, whose docstrings' first paragraphs name the papers."""


@dataclass(frozen=True)
class Method:
    """A way of teaching as people choose it; ``summary`` is what it does, with its paper."""

    name: str
    family: str
    summary: str
    settings: Mapping[str, Value]
    kind: type[Distiller]


@cache
def methods() -> Mapping[str, Method]:
    """All ways of teaching by name, family by family."""
    return MappingProxyType(
        {
            kind.name: Method(kind.name, family, _summary(kind), settings_of(kind), kind)
            for family, kinds in FAMILIES.items()
            for kind in kinds
        }
    )


def load_distiller(text: str) -> Distiller:
    """The distiller that a text names: ``NAME`` or ``NAME:setting=value,setting=value``.

    >>> load_distiller("soft-targets:temperature=2")
    SoftTargets(temperature=2.0, weight=0.9)

    Raises ``ConfigError`` for an unknown name or setting (with the nearest one), and for a value that the
    setting cannot have.
    """
    name, given = split_text(text)
    known = methods()
    if name not in known:
        raise ConfigError(f"{unknown_name('distiller', name, known)} (`understudy methods` describes them)")
    return with_settings(known[name].kind, given)


def _summary(kind: type[Distiller]) -> str:
    return " ".join((kind.__doc__ or "").strip().split("\n\n")[0].split())
