"""What goes into a compiled network and what comes out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TensorSpec:
    """An input or output: its name, static shape, and dtype by numpy's name (``float32``, ``int64``, ``bool``)."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} {'x'.join(map(str, self.shape)) or 'scalar'}"

    def to_json(self) -> dict[str, Any]:
        """The specification as plain data."""
        return asdict(self)
