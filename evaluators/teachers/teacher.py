"""The network that students learn from: images in 0..1 to logits, whatever it was stored as."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from spaces.batch import Batch, parts
from understudy import TeacherError


class Teacher(ABC):
    """A trained classifier.

    ``channels`` and ``resolution`` (pixels) are those of the images that it is given; ``fingerprint`` is a
    hash of its program and weights; ``module`` takes images in 0..1 and returns logits, or is None for a
    teacher that is not a torch network.
    """

    name: str
    classes: int
    channels: int
    resolution: int
    fingerprint: str
    module: nn.Module | None = None

    def logits(self, images: Batch) -> Tensor:
        """Answers to images in 0..1, (N, C, R, R) -> (N, classes) float32, without gradients.

        Raises ``TeacherError`` when the network does not take such images or answers with NaN.
        """
        try:
            with torch.inference_mode():
                answer = self._answer(images).float()
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            of_images = parts(images)[0].ndim == 4
            raise TeacherError(
                f"teacher {self.name} does not take {'images' if of_images else 'samples'} of shape "
                f"{' and '.join(str(tuple(part.shape)) for part in parts(images))} ({lines[0]}): "
                + ("set the size that it was trained with (--image-size)" if of_images else "use one that does")
            ) from error
        if not bool(torch.isfinite(answer).all()):
            raise TeacherError(f"teacher {self.name} answers with NaN or infinity: check its weights")
        return answer.clone()

    @abstractmethod
    def _answer(self, images: Batch) -> Tensor:
        """The raw answers; any failure of the network may come out as it is."""


class ModuleTeacher(Teacher):
    """A torch network that takes images in 0..1 (see ``Normalised``) and returns logits."""

    module: nn.Module

    def __init__(
        self, module: nn.Module, *, name: str, classes: int, channels: int, resolution: int, fingerprint: str
    ) -> None:
        self.module = module.eval().requires_grad_(False)
        self.name, self.classes, self.channels = name, classes, channels
        self.resolution, self.fingerprint = resolution, fingerprint

    def _answer(self, images: Batch) -> Tensor:
        answer = self.module(*parts(images))
        assert isinstance(answer, Tensor)
        return answer


class Normalised(nn.Module):
    """A network as the rest of Understudy sees it: images in 0..1 in, logits in the data's class order out.

    ``mean`` and ``std`` by channel of the network; images of one channel are repeated for a network of
    three. ``order[i]`` is the network's output for the data's class i (None: as they are). With ``vectors`` it
    takes (N, features), ``mean`` and ``std`` by feature or one for all.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        order: Sequence[int] | None = None,
        *,
        vectors: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.order = None if order is None else list(order)
        self._preparation = f"mean={list(mean)}, std={list(std)}, order={self.order}"
        shape = (1, -1) if vectors else (1, -1, 1, 1)
        self.register_buffer("mean", torch.tensor(mean).view(shape), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(shape), persistent=False)

    def extra_repr(self) -> str:
        """What happens around the network, so that it is part of the hash."""
        return self._preparation

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, R, R) in 0..1 -> (N, classes)."""
        logits = first_tensor(self.network(self.normalised(images)))
        return logits if self.order is None else logits[:, self.order]

    def normalised(self, images: Tensor) -> Tensor:
        """The images as the network takes them."""
        wide = images if images.ndim == 2 else images.expand(-1, self.mean.shape[1], *images.shape[2:])
        return (wide - self.mean) / self.std


def resized(images: Tensor, resolution: int) -> Tensor:
    """(N, C, R, R) to another R as pictures are scaled for a task; a gradient passes."""
    if images.shape[-1] == resolution:
        return images
    return functional.interpolate(images, (resolution, resolution), mode="bilinear", antialias=True)


def first_tensor(output: object) -> Tensor:
    """Logits of what a network returned: a tensor, ``.logits`` of a ``transformers`` output, or the first item."""
    if isinstance(output, Mapping):  # a transformers ModelOutput is one
        output = output.get("logits", next(iter(output.values()), None))
    if isinstance(output, (tuple, list)):
        output = output[0]
    if not isinstance(output, Tensor):
        raise TypeError(f"it returned {type(output).__name__} and not a tensor of logits")
    return output


def in_batches(network: Callable[[Tensor], Tensor], images: Tensor, size: int | None) -> Tensor:
    """Answers of a network that takes exactly ``size`` images at a time (None: any number)."""
    if size is None:
        return network(images)
    parts = []
    for part in torch.split(images, size):
        full = torch.cat([part, part[:1].expand(size - len(part), *part.shape[1:])]) if len(part) < size else part
        parts.append(network(full)[: len(part)])
    return torch.cat(parts)


def hash_files(paths: Sequence[Path]) -> str:
    """A hash of the contents of files, in order."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        with path.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def hash_weights(network: nn.Module) -> str:
    """A hash of a network's structure, as printed, and of its parameters and buffers."""
    digest = hashlib.blake2b(repr(network).encode(), digest_size=16)
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
