"""The tensor intrinsics of a warp's fragments, 16 x 16 of float16 with sums in float32 (CUDA's ``nvcuda::wmma``).

TVM has them too, among hundreds whose import takes many seconds; these seven are made in milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tvm import tirx
from tvm.s_tir import TensorIntrin
from tvm.script import from_source
from tvm.script import tirx as script
from tvm.tirx import PrimFunc

FRAGMENT = 16
SHARED = "shared"
_A, _B, _SUM = "wmma.matrix_a", "wmma.matrix_b", "wmma.accumulator"


@dataclass(frozen=True)
class Intrinsics:
    """Names of the tensor intrinsics that a warp loads, clears, multiplies and stores fragments with.

    B lies in shared memory as (columns, terms), or with its terms first.
    """

    load_a: str
    load_b: str
    load_b_terms_first: str
    init: str
    compute: str
    compute_terms_first: str
    store: str


@dataclass(frozen=True)
class _Piece:
    """A fragment's place: its name in the code, what it holds and where."""

    name: str
    dtype: str
    scope: str

    def match(self, strided: bool) -> str:
        """The line that takes it as an argument."""
        strides = f", strides=[{self.name}1, {self.name}0]" if strided else ""
        return (
            f'    {self.name.upper()} = T.match_buffer({self.name}, ({FRAGMENT}, {FRAGMENT}), "{self.dtype}", '
            f'align=64, offset_factor={FRAGMENT}, scope="{self.scope}"{strides})'
        )

    @property
    def region(self) -> str:
        """All of it, as read or written."""
        return f"{self.name.upper()}[0:{FRAGMENT}, 0:{FRAGMENT}]"


@cache
def wmma() -> Intrinsics:
    """CUDA's warp matrix functions; registered with TVM by the first call."""
    return _registered("wmma", calls=True)


@cache
def loops() -> Intrinsics:
    """The same as plain loops, which any processor runs."""
    return _registered("loops", calls=False)


def _registered(kind: str, calls: bool) -> Intrinsics:
    names = {}
    for name, (pieces, written, loop, call) in _FORMS.items():
        names[name] = f"understudy_{kind}_{name}"
        meaning = _function(pieces, written, loop, False)
        body = f"T.evaluate({call})" if calls else loop
        TensorIntrin.register(names[name], meaning, _function(pieces, written, body, calls), override=True)
    return Intrinsics(**names)


def _function(pieces: Sequence[_Piece], written: _Piece, body: str, strided: bool) -> PrimFunc:
    arguments = ", ".join(f"{piece.name}: T.handle" for piece in pieces)
    lines = ["@T.prim_func(s_tir=True)", f"def main({arguments}) -> None:"]
    if strided:
        lines += [f"    {piece.name}{axis} = T.int32()" for piece in pieces for axis in "10"]
    lines += [piece.match(strided) for piece in pieces]
    summed = len(pieces) > 2
    read = [*([written] if summed else []), *(piece for piece in pieces if piece is not written)]
    lines += ['    with T.sblock("root"):', f"        T.reads({', '.join(piece.region for piece in read)})"]
    lines += [f"        T.writes({written.region})", *(f"        {line}" for line in body.splitlines())]
    return from_source("\n".join(lines), {"T": script, "index": _index})


def _index(buffer: Any, stride: Any) -> Any:
    """Which fragment of the buffer a matched piece is: its offset counted in fragments."""
    row, column = tirx.floordiv(buffer.elem_offset, stride), tirx.floormod(buffer.elem_offset, stride)
    across = tirx.floordiv(stride, FRAGMENT)
    return tirx.floordiv(row, FRAGMENT) * across + tirx.floordiv(column, FRAGMENT)


def _over(axes: str, kinds: str, statement: str) -> str:
    count, names = len(axes), ", ".join(axes)
    bound = ", ".join(f"v{axis}" for axis in axes)
    grid = ", ".join([str(FRAGMENT)] * count)
    return (
        f'for {names} in T.grid({grid}):\n    with T.sblock("cell"):\n'
        f'        {bound} = T.axis.remap("{kinds}", [{names}])\n        {statement}'
    )


def _load(scope: str, layout: str) -> tuple[tuple[_Piece, _Piece], _Piece, str, str]:
    source, target = _Piece("a", "float16", SHARED), _Piece("c", "float16", scope)
    call = (
        f'T.tvm_load_matrix_sync(C.data, 16, 16, 16, index(C, c1), A.access_ptr("r", ptr_type="float16"), a1, '
        f'"{layout}")'
    )
    return (source, target), target, _over("ij", "SS", "C[vi, vj] = A[vi, vj]"), call


_LEFT, _RIGHT, _TOTAL = _Piece("a", "float16", _A), _Piece("b", "float16", _B), _Piece("c", "float32", _SUM)


def _compute(right: str) -> tuple[tuple[_Piece, ...], _Piece, str, str]:
    loop = f'C[vi, vj] = C[vi, vj] + T.Cast("float32", A[vi, vk]) * T.Cast("float32", B[{right}])'
    call = "T.tvm_mma_sync(C.data, index(C, c1), A.data, index(A, a1), B.data, index(B, b1), C.data, index(C, c1))"
    return (_LEFT, _RIGHT, _TOTAL), _TOTAL, _over("ijk", "SSR", loop), call


_STORED, _SUMS = _Piece("c", "float32", SHARED), _Piece("a", "float32", _SUM)
_FORMS: dict[str, tuple[tuple[_Piece, ...], _Piece, str, str]] = {
    "load_a": _load(_A, "row_major"),
    "load_b": _load(_B, "col_major"),
    "load_b_terms_first": _load(_B, "row_major"),
    "init": (
        (_TOTAL,),
        _TOTAL,
        _over("ij", "SS", "C[vi, vj] = T.float32(0)"),
        "T.tvm_fill_fragment(C.data, 16, 16, 16, index(C, c1), T.float32(0))",
    ),
    "compute": _compute("vj, vk"),
    "compute_terms_first": _compute("vk, vj"),
    "store": (
        (_SUMS, _STORED),
        _STORED,
        _over("ij", "SS", "C[vi, vj] = A[vi, vj]"),
        'T.tvm_store_matrix_sync(A.data, 16, 16, 16, index(A, a1), C.access_ptr("w", ptr_type="float32"), c1, '
        '"row_major")',
    ),
}
