"""The spaces by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from spaces.space import VECTOR, Space
from understudy import SpaceError, unknown_name

if TYPE_CHECKING:
    from torch import nn

_HUB_PREFIX = "nni:"
_OWN = ("mobile", "residual", "mlp", "text", "language", "speech", "segment", "detect", "answer")
_OF_TEXTS = "text"
_OF_LANGUAGE = "language"
_OF_IMAGES = ("mobile", "residual")
_OF_SPEECH = "speech"
_OF_MASKS, _OF_BOXES = "segment", "detect"
_OF_MAPS = (_OF_MASKS, _OF_BOXES)
_OF_QUESTIONS = "answer"


def space_names() -> tuple[str, ...]:
    """The spaces of Understudy itself; ``load_space`` also knows ``nni:<hub space>`` and ``file.py:Class``."""
    return _OWN


def load_space(
    spec: str,
    *,
    channels: int,
    image_size: int,
    classes: int,
    tokens: bool = False,
    sample_rate: int | None = None,
    dense: bool = False,
    boxes: bool = False,
    question: tuple[int, int] | None = None,
) -> Space:
    """The space for images of (channels, image_size, image_size) in so many classes, or for vectors.

    ``spec`` is one of ``space_names()``, ``nni:<name>`` for a space of NNI's hub, or ``file.py:Class`` for a
    ``ModelSpace`` of the user's. An ``image_size`` of ``VECTOR`` stands for vectors of ``channels`` features, with
    a ``sample_rate`` (Hz) for recordings of so many samples. With ``tokens`` it is for texts of up to
    ``image_size`` ids, each below ``channels``; ``dense`` ones answer with a class for each place of an image
    (``boxes``: at several scales, see ``spaces.scales.level_sides``), or with what comes after each token.
    With a ``question``, a vocabulary's size and a number of tokens, samples are images with such questions.
    Raises ``SpaceError`` when there is none of that name (with the nearest one) or it cannot be used.
    """
    sizes = {"channels": channels, "image_size": image_size, "classes": classes}
    least = {"channels": 1, "image_size": VECTOR if image_size == VECTOR else 8, "classes": 2}
    for name, size in sizes.items():
        if size < least[name]:
            raise SpaceError(f"a space needs {name} of at least {least[name]}, but got {size}")
    if tokens and dense and spec != _OF_LANGUAGE:
        raise SpaceError(
            f"space {spec} goes on with no text: its students need a cache of what they have read, so use --space "
            f"{_OF_LANGUAGE}, or leave it out"
        )
    if spec == _OF_LANGUAGE and not (tokens and dense):
        raise SpaceError(
            f"space {spec} is for plain text (.txt) to go on with, and the data are none: leave it out"
        )
    if tokens and (spec in _OWN or spec.startswith(_HUB_PREFIX)) and spec not in (_OF_TEXTS, _OF_LANGUAGE):
        raise SpaceError(f"space {spec} is not for texts: use --space {_OF_TEXTS}, or leave it out")
    if spec == _OF_TEXTS and not tokens:
        raise SpaceError(f"space {spec} is for texts, and the data are none: name another, or leave --space out")
    if image_size == VECTOR and (spec in _OF_IMAGES or spec.startswith(_HUB_PREFIX)):
        kind, fitting = ("recordings", _OF_SPEECH) if sample_rate else ("vectors", "mlp")
        raise SpaceError(f"space {spec} is for images, but the data are {kind}: use --space {fitting}")
    if spec == _OF_SPEECH and not sample_rate:
        raise SpaceError(f"space {spec} is for recordings of words (WAV files), and the data are none")
    of_maps, wanted = (_OF_BOXES, "boxes") if boxes else (_OF_MASKS, "masks")
    if dense and not tokens and (spec in _OWN or spec.startswith(_HUB_PREFIX)) and spec != of_maps:
        raise SpaceError(f"space {spec} gives no {wanted}: use --space {of_maps}, or leave it out")
    if spec in _OF_MAPS and not dense:
        raise SpaceError(f"space {spec} is for images with masks or boxes, and the data are none: leave it out")
    if question is not None and spec != _OF_QUESTIONS:
        raise SpaceError(f"space {spec} reads no questions: use --space {_OF_QUESTIONS}, or leave it out")
    if spec == _OF_QUESTIONS and question is None:
        raise SpaceError(f"space {spec} is for pictures with questions, and the data are none: leave it out")
    if spec.startswith(_HUB_PREFIX):
        from spaces.hub import hub_space

        return hub_space(spec.removeprefix(_HUB_PREFIX), **sizes)
    path, colon, name = spec.rpartition(":")
    if colon:
        from spaces.user import user_space

        return user_space(Path(path), name, **sizes, tokens=tokens, dense=dense, boxes=boxes)
    if spec not in _OWN:
        known = (*_OWN, "nni:<hub space>", "<file.py>:<Class>")
        raise SpaceError(unknown_name("space", spec, known))
    return _own(spec, **sizes, tokens=tokens, sample_rate=sample_rate, question=question)


def _own(
    name: str,
    *,
    channels: int,
    image_size: int,
    classes: int,
    tokens: bool,
    sample_rate: int | None,
    question: tuple[int, int] | None,
) -> Space:
    from spaces.answer import AnswerSpace
    from spaces.detect import DetectSpace
    from spaces.language import LanguageSpace
    from spaces.mlp import MlpSpace
    from spaces.mobile import MobileSpace
    from spaces.nni_adapter import NniSpace
    from spaces.residual import ResidualSpace
    from spaces.segment import SegmentSpace
    from spaces.speech import SpeechSpace
    from spaces.text import TextSpace

    own: dict[str, type[nn.Module]] = {
        "mobile": MobileSpace,
        "residual": ResidualSpace,
        "mlp": MlpSpace,
        _OF_TEXTS: TextSpace,
        _OF_LANGUAGE: LanguageSpace,
        _OF_MASKS: SegmentSpace,
        _OF_BOXES: DetectSpace,
        _OF_QUESTIONS: AnswerSpace,
    }
    sizes = {"channels": channels, "image_size": image_size, "classes": classes}
    make: Callable[[], nn.Module] = (
        partial(SpeechSpace, channels, sample_rate or 0, classes)
        if name == _OF_SPEECH
        else partial(own[name], channels, image_size, classes, *(question or ()))
    )
    dense, boxes, asked = name in (*_OF_MAPS, _OF_LANGUAGE), name == _OF_BOXES, question[1] if question else 0
    return NniSpace(name, make, **sizes, tokens=tokens, dense=dense, boxes=boxes, question=asked)
