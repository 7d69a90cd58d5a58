"""A training in parts: where it stands is kept in a file, from which it goes on to the same weights."""

from __future__ import annotations

import io
import pickle
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from torch import Tensor, nn

from results.store import write_atomically

BETWEEN_S = 30.0
"""Within a part of a training, where it stands is kept this often, so that a kill costs no more."""


@dataclass
class Stretch:
    """One part of a training: up to the epoch ``until`` (from 1), going on from what ``file`` holds.

    ``training`` names the training (its network, method and schedule); what a file holds of another is not taken.
    The file is written when the part is done, and during long ones after an epoch now and then.
    """

    until: int
    file: Path
    training: str
    _kept_at: float = field(default_factory=time.monotonic)

    def load(self) -> dict[str, Any] | None:
        """Where the training stood, if the file is whole and of this training. No code in it is ever run."""
        if not self.file.exists():
            return None
        try:
            held = torch.load(self.file, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, BadZipFile, pickle.UnpicklingError):
            return None
        return held["state"] if held.get("training") == self.training else None

    def keep(self, state: Mapping[str, Any]) -> None:
        """Write down where the training stands; raises ``RunError`` if it cannot."""
        content = io.BytesIO()
        torch.save({"training": self.training, "state": dict(state)}, content)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.file, content.getvalue())
        self._kept_at = time.monotonic()

    def is_due(self, epoch: int) -> bool:
        """Whether to keep where the training stands after ``epoch`` (from 1)."""
        return epoch == self.until or time.monotonic() - self._kept_at > BETWEEN_S


def put_back(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give a module the parameters and buffers of a ``state_dict``; its buffers may have grown since."""
    for path, buffer in list(module.named_buffers()):
        if path in state and state[path].shape != buffer.shape:
            owner, _, name = path.rpartition(".")
            setattr(module.get_submodule(owner), name, state[path].to(buffer.device, copy=True))
    module.load_state_dict(dict(state))
