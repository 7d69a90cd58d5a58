"""Students that go on with a text: decoders up to DistilGPT-2's size (Sanh et al., 2019)."""

from __future__ import annotations

from torch import Tensor, nn

from spaces.blocks import draw_seed, initialise
from spaces.decoder import LARGE_VOCABULARY, Decoder
from spaces.nni_adapter import ModelSpace, ParametrizedModule, choice

_WIDTHS = ([64, 128, 192, 256], [256, 384, 512, 768])
_EMBEDDINGS = ([32, 64, 128], [64, 128, 256])
_LAYERS = [1, 2, 3, 4, 6]
_HEADS = [2, 4, 8]
_FEEDS = [1, 2, 4]
_DROPOUTS = (0.0, 0.1)
"""While they learn: small students hardly learn a text by heart that they read a few times."""


class LanguageSpace(ModelSpace):
    """Choices: ``layers``, ``width``, ``heads``, ``feed`` (times width), ``embedding``; see ``Decoder``.

    The window is the data's. Layers: ``decoder.words``, ``decoder.layers.<index>``.
    """

    def __init__(self, channels: int, image_size: int, classes: int) -> None:
        super().__init__()
        seed, large = draw_seed(), channels >= LARGE_VOCABULARY
        self.decoder = _Decoder(
            channels,
            image_size,
            choice("embedding", _EMBEDDINGS[large]),
            choice("width", _WIDTHS[large]),
            choice("heads", _HEADS),
            choice("feed", _FEEDS),
            choice("layers", _LAYERS),
            _DROPOUTS[large],
        )
        initialise(self, seed)

    def forward(self, ids: Tensor) -> Tensor:
        """(N, T) int64 -> logits of what comes next, (N, T, channels)."""
        logits: Tensor = self.decoder(ids)
        return logits


def decoder_of(network: nn.Module) -> Decoder | None:
    """The decoder that a network is, or is around; None where it goes on with no text."""
    found = network if isinstance(network, Decoder) else getattr(network, "decoder", None)
    return found if isinstance(found, Decoder) else None


class _Decoder(ParametrizedModule, Decoder, wraps=Decoder):  # type: ignore[call-arg]
    """``Decoder`` with choices for its sizes."""
