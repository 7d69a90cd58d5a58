"""A supernet on disk: what was taught so far, and what it was taught to be.

Layout of a run's ``supernet/``::

    training.pt           where the training stands (see ``evaluators/distill/stretch.py``); gone when
                          it is over
    weights.safetensors   the shared tensors
    supernet.json         what it depends on, what it cost, how well its scores rank (see ``search/supernet.py``)

Nothing in them is executed when read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from results.store import write_atomically
from spaces.space import Space
from spaces.supernet import Supernet, shareable
from understudy import RunError

FOLDER = "supernet"
TRAINING = "training.pt"
_WEIGHTS, _FACTS = "weights.safetensors", "supernet.json"


def write_supernet(folder: Path, supernet: Supernet) -> None:
    """Keep a trained supernet, atomically."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in supernet.tensors.items()}
    write_atomically(folder / _WEIGHTS, save(tensors))


def is_trained(folder: Path) -> bool:
    """Whether a trained supernet is there."""
    return (folder / _WEIGHTS).is_file()


def open_supernet(folder: Path, space: Space) -> Supernet:
    """The trained supernet of a space; raises ``RunError`` when its file is missing or damaged."""
    path = folder / _WEIGHTS
    try:
        return Supernet(shareable(space), load(path.read_bytes()))
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} does not hold a supernet ({error}): restore it, or start a new run") from error


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Replace what is known of a supernet, atomically; of a trained one, forget how far its training was."""
    write_atomically(folder / _FACTS, json.dumps(facts, indent=1, ensure_ascii=False).encode() + b"\n")
    if is_trained(folder):
        (folder / TRAINING).unlink(missing_ok=True)


def read_facts(folder: Path) -> dict[str, Any]:
    """What is known of a supernet, nothing before it is; raises ``RunError`` for a damaged file."""
    path = folder / _FACTS
    try:
        facts: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}): restore it, or start the run anew") from error
    return facts
