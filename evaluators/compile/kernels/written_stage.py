"""A kernel that is written out, as one opaque stage of TVM's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tvm import s_tir, te, tirx
from tvm.tirx import Stmt

from evaluators.compile.choices import OPERATIONS
from evaluators.compile.kernels.emit import whole, whole_region


def written_stage(
    name: str,
    sources: Sequence[te.Tensor],
    shape: Sequence[int],
    dtype: str,
    body: Callable[..., Stmt],
    operations: int,
    notes: Mapping[str, object],
) -> te.Tensor:
    """``body(*sources, result)`` as a stage of that name; ``notes`` and ``operations`` are its annotations."""
    buffers = [tirx.decl_buffer(source.shape, source.dtype, "source", layout=None) for source in sources]
    full = tirx.decl_buffer([whole(extent) for extent in shape], dtype, "full", layout=None)
    regions = [whole_region(buffer) for buffer in (*buffers, full)]
    block = s_tir.SBlock(
        [], regions[:-1], regions[-1:], name, body(*buffers, full), annotations={**notes, OPERATIONS: operations}
    )
    return te.extern(
        [full.shape],
        list(sources),
        lambda ins, outs: s_tir.SBlockRealize([], True, block),
        name,
        in_buffers=buffers,
        out_buffers=[full],
    )
