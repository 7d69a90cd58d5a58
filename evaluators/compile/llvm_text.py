"""Arithmetic on vectors of floats written as a function of LLVM's language."""

from __future__ import annotations

import struct
from collections.abc import Callable


class Function:
    """The text of a function of one vector of ``lanes`` floats, grown instruction by instruction."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self._lines: list[str] = []

    def type_of(self, kind: str) -> str:
        """The vector (the scalar, for one lane) of ``float``, ``i32`` or ``i1``."""
        return kind if self.lanes == 1 else f"<{self.lanes} x {kind}>"

    def emit(self, kind: str, instruction: str) -> Value:
        name = f"%v{len(self._lines)}"
        self._lines.append(f"  {name} = {instruction}")
        return Value(self, kind, name)

    def constant(self, kind: str, number: float) -> Value:
        """The number in every lane; floats are written by the bits of the nearest float32."""
        text = str(number)
        if kind == "float":
            rounded = struct.unpack("<f", struct.pack("<f", number))[0]
            text = f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"
        return Value(self, kind, text if self.lanes == 1 else f"<{', '.join([f'{kind} {text}'] * self.lanes)}>")

    def select(self, condition: Value, then: Value, otherwise: Value) -> Value:
        operands = ", ".join(value.typed for value in (condition, then, otherwise))
        return self.emit(then.kind, f"select {operands}")

    def text(self, name: str, formula: Callable[[Value], Value]) -> str:
        """``name`` defined as the formula."""
        result = formula(Value(self, "float", "%x"))
        floats = self.type_of("float")
        body = "\n".join([*self._lines, f"  ret {result.typed}"])
        return f"define {floats} @{name}({floats} %x) {{\n{body}\n}}\n"


class Value:
    """A vector in a ``Function``; its operators write instructions, with numbers as constants."""

    def __init__(self, function: Function, kind: str, name: str) -> None:
        self.function, self.kind, self.name = function, kind, name

    @property
    def typed(self) -> str:
        return f"{self.function.type_of(self.kind)} {self.name}"

    def __add__(self, other: Value | float) -> Value:
        return self._binary("add", other)

    def __sub__(self, other: Value | float) -> Value:
        return self._binary("sub", other)

    def __mul__(self, other: Value | float) -> Value:
        return self._binary("mul", other)

    def __truediv__(self, other: Value | float) -> Value:
        return self._binary("div", other)

    def __lshift__(self, bits: int) -> Value:
        return self._written("shl", self._operand(bits), self.kind)

    def __rshift__(self, bits: int) -> Value:
        return self._written("ashr", self._operand(bits), self.kind)

    def __lt__(self, other: Value | float) -> Value:
        return self._written("fcmp olt", self._operand(other), "i1")

    def __gt__(self, other: Value | float) -> Value:
        return self._written("fcmp ogt", self._operand(other), "i1")

    def equals(self, other: Value | float) -> Value:
        return self._written("fcmp oeq", self._operand(other), "i1")

    def like(self, number: float) -> Value:
        """A constant of this value's kind."""
        return self.function.constant(self.kind, number)

    def converted(self, kind: str, instruction: str) -> Value:
        """This value by ``bitcast`` or ``sitofp`` as another kind."""
        return self.function.emit(kind, f"{instruction} {self.typed} to {self.function.type_of(kind)}")

    def _binary(self, operation: str, other: Value | float) -> Value:
        prefix = "f" if self.kind == "float" else ""
        return self._written(prefix + operation, self._operand(other), self.kind)

    def _operand(self, other: Value | float) -> Value:
        return other if isinstance(other, Value) else self.like(other)

    def _written(self, operation: str, other: Value, kind: str) -> Value:
        return self.function.emit(kind, f"{operation} {self.typed}, {other.name}")
