"""ONNX's LSTM, GRU and RNN, every step written out: static shapes have a known number of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tvm import relax

Emit = Callable[[relax.Expr], relax.Var]
State = tuple[relax.Expr, ...]
"""What is handed from step to step: the hidden values first, (batch, hidden)."""
_USUAL = {"LSTM": (b"Sigmoid", b"Tanh", b"Tanh"), "GRU": (b"Sigmoid", b"Tanh"), "RNN": (b"Tanh",)}
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(kind: str) -> Callable[[relax.BlockBuilder, Sequence[Any], Mapping[str, Any]], relax.Expr]:
    """The converter of one of the three: outputs of all steps, then the last state."""

    def convert(
        builder: relax.BlockBuilder, arguments: Sequence[Any], attributes: Mapping[str, Any]
    ) -> relax.Expr:
        data, weights, recurrence, bias, lengths, *states = (*arguments, *[None] * 8)[:8]
        _refuse_rare(kind, attributes, lengths, states[2])
        emit = builder.emit
        reverse = attributes.get("direction", b"forward") == b"reverse"
        ways = int(weights.ty.shape[0])
        ends, sequences = [], []
        for way in range(ways):
            layer = _Layer(kind, [_one_way(each, way, emit) for each in (weights, recurrence, bias)], emit)
            layer.resets_late = bool(attributes.get("linear_before_reset", 0))
            start = [_one_way(each, way, emit) for each in states[: 2 if kind == "LSTM" else 1]]
            outputs, end = layer.run(data, start, reverse or way == 1)
            sequences.append(emit(relax.op.stack(outputs, 0)))
            ends.append(end)
        last = [emit(relax.op.stack([end[part] for end in ends], 0)) for part in range(len(ends[0]))]
        return relax.Tuple([emit(relax.op.stack(sequences, 1)), *last])

    return convert


def _refuse_rare(kind: str, attributes: Mapping[str, Any], lengths: Any, peepholes: Any) -> None:
    given = attributes.get("activations", ())
    usual = _USUAL[kind] * 2
    if tuple(given) != usual[: len(given)]:
        raise ValueError("its activations are not the usual ones")
    if lengths is not None or peepholes is not None or attributes.get("layout", 0):
        raise ValueError("lengths of sequences, peepholes and another layout are not supported")
    if "clip" in attributes or attributes.get("input_forget", 0):
        raise ValueError("clipping and coupled gates are not supported")


def _one_way(value: Any, way: int, emit: Emit) -> Any:
    """The part of one direction of a tensor that has both."""
    return value and emit(relax.op.take(value, relax.const(way, "int64"), 0, mode="wrap"))


class _Layer:
    """One direction: weights (gates * hidden, inputs), recurrence (gates * hidden, hidden), both biases."""

    def __init__(self, kind: str, held: Sequence[Any], emit: Emit) -> None:
        self.kind, self.emit, self.resets_late = kind, emit, False
        weights, recurrence, bias = held
        self.gates, self.hidden = _GATES[kind], int(recurrence.ty.shape[1])
        self.dtype = str(weights.ty.dtype)
        self.weights, self.recurrence = (
            emit(relax.op.permute_dims(each, [1, 0])) for each in (weights, recurrence)
        )
        zero = relax.const(0.0, self.dtype)
        self.biases = [zero, zero] if bias is None else self.split(bias, 2, 0)

    def split(self, value: relax.Expr, parts: int, axis: int) -> list[relax.Var]:
        halves = self.emit(relax.op.split(value, parts, axis))
        return [self.emit(halves[part]) for part in range(parts)]

    def run(self, data: relax.Expr, start: Sequence[Any], reverse: bool) -> tuple[list[relax.Var], State]:
        """The hidden values of each step of (steps, batch, inputs), in the data's order, and the last state."""
        steps, batch, _ = (int(extent) for extent in data.ty.shape)
        zeros = relax.op.zeros(relax.ShapeExpr([batch, self.hidden]), self.dtype)
        state: State = tuple(self.emit(zeros) if each is None else each for each in start)
        product = self.emit(relax.op.matmul(data, self.weights))
        asked = self.emit(relax.op.add(product, self.biases[0]))
        outputs = []
        for step in reversed(range(steps)) if reverse else range(steps):
            now = self.emit(relax.op.take(asked, relax.const(step, "int64"), 0, mode="wrap"))
            state = self._step(now, state)
            outputs.append(state[0])
        return (outputs[::-1] if reverse else outputs), state

    def _step(self, now: relax.Expr, state: State) -> State:
        if self.kind == "GRU":
            return self._gru(now, state)
        wanted = relax.op.add(relax.op.add(now, relax.op.matmul(state[0], self.recurrence)), self.biases[1])
        if self.kind == "RNN":
            return (self.emit(relax.op.tanh(wanted)),)
        let_in, let_out, forget, cell = self.split(self.emit(wanted), 4, 1)
        kept = relax.op.multiply(relax.op.sigmoid(forget), state[1])
        added = relax.op.multiply(relax.op.sigmoid(let_in), relax.op.tanh(cell))
        memory = self.emit(relax.op.add(kept, added))
        return self.emit(relax.op.multiply(relax.op.sigmoid(let_out), relax.op.tanh(memory))), memory

    def _gru(self, now: relax.Expr, state: State) -> State:
        """Gates in ONNX's order: update, reset, hidden."""
        (hidden,) = state
        update, reset, fresh = self.split(now, 3, 1)
        matrices, biases = self.split(self.recurrence, 3, 1), self.biases[1]
        zero = relax.const(0.0, self.dtype)
        shifts = self.split(biases, 3, 0) if len(biases.ty.shape) else [zero] * 3
        recurred = [
            self.emit(relax.op.add(relax.op.matmul(hidden, matrix), shift))
            for matrix, shift in zip(matrices[:2], shifts[:2], strict=True)
        ]
        update = self.emit(relax.op.sigmoid(relax.op.add(update, recurred[0])))
        reset = self.emit(relax.op.sigmoid(relax.op.add(reset, recurred[1])))
        if self.resets_late:
            again = relax.op.multiply(reset, relax.op.add(relax.op.matmul(hidden, matrices[2]), shifts[2]))
        else:
            again = relax.op.add(relax.op.matmul(relax.op.multiply(reset, hidden), matrices[2]), shifts[2])
        fresh = self.emit(relax.op.tanh(relax.op.add(fresh, again)))
        difference = relax.op.multiply(update, relax.op.subtract(hidden, fresh))
        return (self.emit(relax.op.add(fresh, difference)),)
