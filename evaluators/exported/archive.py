"""The archive that ``torch.export.save`` writes, as JSON and tensors."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Json = Mapping[str, Any]

SCHEMA = 8
"""The major version of the archive's schema that is read (``torch/_export/serde/schema.py``)."""

DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}


class ProgramError(ValueError):
    """A program cannot be used; the text says what is wrong and what to do."""


@dataclass(frozen=True)
class Archive:
    """A program: its graph and signature as the schema has them, and its tensors by name."""

    graph: Json
    signature: Json
    tensors: Mapping[str, Tensor]


def read_archive(path: Path) -> Archive:
    """The program of a file.

    Raises ``ProgramError`` when the file is not such a program or holds pickled objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {name.partition("/")[2]: name for name in archive.namelist()}
            model = json.loads(archive.read(entries["models/model.json"]))
            if model["schema_version"]["major"] != SCHEMA:
                raise ValueError(f"schema version {model['schema_version']}, not {SCHEMA}")
            tensors = {
                name: tensor
                for kind in ("weights", "constants")
                for name, tensor in _tensors(path, archive, entries, kind).items()
            }
            program = model["graph_module"]
            return Archive(program["graph"], program["signature"], tensors)
    except ProgramError:
        raise
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, IndexError, TypeError, RuntimeError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> ProgramError:
    """The error of a file whose content is not as it should be."""
    return ProgramError(
        f"{path} cannot be read as a program of torch.export.save ({type(error).__name__}: {error}): "
        f"export it again with torch {torch.__version__}, or to ONNX"
    )


def _tensors(path: Path, archive: zipfile.ZipFile, entries: Mapping[str, str], kind: str) -> dict[str, Tensor]:
    """Tensors of ``data/weights`` or ``data/constants`` by name."""
    config = json.loads(archive.read(entries[f"data/{kind}/model_{kind}_config.json"]))["config"]
    found: dict[str, Tensor] = {}
    for name, entry in config.items():
        if entry["use_pickle"]:
            raise ProgramError(
                f"{path} holds {name[:80]!r} pickled, which could run code: export it with plain tensors"
            )
        meta = entry["tensor_meta"]
        sizes, strides = ([size["as_int"] for size in meta[key]] for key in ("sizes", "strides"))
        content = bytearray(archive.read(entries[f"data/{kind}/{entry['path_name']}"]))
        dtype = DTYPES[meta["dtype"]]
        flat = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        found[name] = flat.as_strided(sizes, strides, meta["storage_offset"]["as_int"]).clone()
    return found
