"""Mathematical functions as arithmetic on whole vectors.

LLVM turns exp, erf, tanh and their kin on a vector of floats into one call of the C library for each lane. Here
they are polynomials and rational functions of the same vector width as the code around them, within four units in
the last place of the exact value. They are handed to LLVM as functions in its own language, which it inlines:
written out in TIR, each value that is used twice would double the work of TVM's simplifiers. Only float32 is
changed. Infinities and NaN pass as in the C library; results of ``exp`` below 1.7e-38 are zero.

The ranges are reduced as in W. J. Cody and W. Waite, "Software Manual for the Elementary Functions" (1980); the
coefficients were fitted for least relative error in exact arithmetic by Lawson's algorithm (reweighted least
squares) over the reduced range.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence

import tvm
import tvm_ffi
from tvm import tirx

from evaluators.compile.llvm_text import Function, Value

Formula = Callable[[Value], Value]
_LOG2_E = 1.44269504088896341
_LN_2_HIGH, _LN_2_LOW = 0.693359375, -2.12194440054690583e-4
"""Their sum is ln 2; the first has so few bits that whole multiples of it are exact."""
_SHIFT = 12582912.0
"""1.5 * 2**23: a float added to it is rounded to a whole number, found in the low bits of the sum."""
_IMPORT = "pragma_import_llvm"
_MOST_POWER = 4
_MOST_SHIFT = 255
"""Of whole numbers that become bytes."""
_MANTISSA_BITS, _ONE_HALF_EXPONENT, _ROOT_HALF_BITS = 23, 126, 0x3F3504F3
_LEAST_NORMAL = 1.17549435e-38
_EXP_LEAST, _EXP_MOST = -87.3, 89.0
_EXP = (2.0, 2.0, 0.99999986, 0.33333034, 0.08333686, 0.01673824, 0.00276276)
"""2 exp(r) for |r| up to ln(2) / 2."""
_LOG = (0.333333317, -0.25000821, 0.200012269, -0.166233571, 0.142017575, -0.131601846, 0.127615823, -0.076344973)
"""(log(1 + f) - f + f**2 / 2) / f**3 for 1 + f from sqrt(1/2) to sqrt(2)."""
_ERF_MOST = 3.95
_ERF_ABOVE = (1.12837914, 0.191547484, 0.0528750892, 0.00380804475, 0.000284685866, 2.02593986e-06)
_ERF_BELOW = (1.0, 0.503087214, 0.11455847, 0.0150548555, 0.00117069884, 3.78320334e-05)
_TANH_MOST = 9.02
_TANH_ABOVE = (0.999999999, 0.137853744, 0.00400852216, 3.15893462e-05, 5.07631926e-08)
_TANH_BELOW = (1.0, 0.471187068, 0.02773756, 0.000420743126, 1.61750719e-06, 7.37462645e-10)


def _pipeline() -> tuple[tvm.transform.Pass, Callable[[], tvm.transform.Pass], Callable[[], tvm.transform.Pass]]:
    """TVM's passes, and our functions once loops are vectors."""
    lower, *finish = tirx.get_tir_pipeline("s_tir")
    ours = tvm.transform.module_pass(lambda module, _: use_vector_math(module), opt_level=0)
    return tvm.transform.Sequential([lower, ours]), *finish


PIPELINE = "s_tir_with_vector_math"
"""The name to give ``tvm.compile`` or ``relax.build`` as ``tir_pipeline``."""
tirx.register_tir_pipeline(PIPELINE, _pipeline)


def use_vector_math(module: tvm.IRModule) -> tvm.IRModule:
    """The lowered module (loops are vectors already) with its calls of mathematical functions replaced."""
    changed = {variable: _changed(function) for variable, function in module.functions_items()}
    return tvm.IRModule(changed, attrs=module.attrs)


def _changed(function: tvm.ir.BaseFunc) -> tvm.ir.BaseFunc:
    if not isinstance(function, tirx.PrimFunc):
        return function
    used: dict[str, str] = {}

    def replace(call: tvm.ir.Call) -> tirx.Expr:
        named = _formula(call)
        width = str(call.ty.dtype) if named else ""
        if named is None or width.split("x")[0] != "float32":
            return call
        name = f"vector_{named[0]}_{width}"
        used[name] = _text(name, named[1], int(width.split("x")[1]) if "x" in width else 1)
        return tirx.call_pure_extern(width, name, call.args[0])

    body = tvm_ffi.structural_map(function.body, (tirx.Cast, _rounded))
    body = tvm_ffi.structural_map(body, (tirx.Cast, _narrowed))
    body = tvm_ffi.structural_map(body, (tvm.ir.Call, replace))
    if not used:
        return function.with_body(body)
    text = "".join(used[name] for name in sorted(used))
    return function.with_body(tirx.AttrStmt(tirx.const(0, "int32"), _IMPORT, tvm.ir.StringImm(text), body))


def _rounded(cast: tirx.Cast) -> tirx.Expr:
    """A whole number that was rounded before by the one instruction that does both."""
    value = cast.value
    called = value.op if isinstance(value, tvm.ir.Call) else None
    rounded = isinstance(called, tvm.ir.Op) and called.name == "tirx.nearbyint"
    (kind, *_), (given, *lanes) = str(cast.ty.dtype).split("x"), str(value.ty.dtype).split("x")
    if not rounded or kind not in ("int8", "int16", "int32") or given != "float32":
        return cast
    whole = tirx.call_llvm_pure_intrin("x".join(["int32", *lanes]), "llvm.lrint", value.args[0])
    return whole if kind == "int32" else tirx.Cast(cast.ty, whole)


def _narrowed(cast: tirx.Cast) -> tirx.Expr:
    """A whole number shifted, clipped and stored in a byte by way of 16 bits: packing vectors saturates."""
    (kind, *_), (given, *lanes) = (str(each.ty.dtype).split("x") for each in (cast, cast.value))
    if kind not in ("int8", "uint8") or given != "int32":
        return cast
    clipped = _clipped(cast.value)
    if clipped is None or not isinstance(clipped[0], tirx.Add):
        return cast
    total, low, high = clipped
    shift = _constant(total.b)
    if shift is None or not max(abs(shift), abs(low), abs(high)) <= _MOST_SHIFT:
        return cast
    half = "x".join(["int16", *lanes])
    least, most = (tirx.const(side, str(total.a.ty.dtype)) for side in (-(2**15), 2**15 - 1))
    short = tirx.Cast(half, tirx.min(tirx.max(total.a, least), most))
    shifted = tirx.call_llvm_pure_intrin(half, "llvm.sadd.sat", short, tirx.const(shift, half))
    return tirx.Cast(cast.ty, tirx.min(tirx.max(shifted, tirx.const(low, half)), tirx.const(high, half)))


def _clipped(value: tirx.Expr) -> tuple[tirx.Expr, int, int] | None:
    """What is held between two constants, and these."""
    if not isinstance(value, tirx.Min) or not isinstance(value.a, tirx.Max):
        return None
    low, high = _constant(value.a.b), _constant(value.b)
    return None if low is None or high is None else (value.a.a, low, high)


def _constant(value: tirx.Expr) -> int | None:
    number = value.value if isinstance(value, tirx.Broadcast) else value
    return int(number.value) if isinstance(number, tirx.IntImm) else None


def _formula(call: tvm.ir.Call) -> tuple[str, Formula] | None:
    if not isinstance(call.op, tvm.ir.Op):
        return None
    if call.op.name == "tirx.pow":
        return _whole_power(call.args[1])
    formula = _FORMULAS.get(call.op.name)
    return (call.op.name.removeprefix("tirx."), formula) if formula else None


def _whole_power(exponent: tirx.Expr) -> tuple[str, Formula] | None:
    number = exponent.value if isinstance(exponent, tirx.Broadcast) else exponent
    if not isinstance(number, tirx.FloatImm):
        return None
    power = float(number.value)
    if not power.is_integer() or abs(power) > _MOST_POWER:
        return None
    return f"power_{power:g}".replace("-", "minus_"), _POWERS[int(power)]


@functools.cache
def _text(name: str, formula: Formula, lanes: int) -> str:
    return Function(lanes).text(name, formula)


def exp(x: Value) -> Value:
    """2**n exp(r) with x = n ln 2 + r."""
    x = _clamped(x, _EXP_LEAST, _EXP_MOST)
    shifted = x * _LOG2_E + _SHIFT
    n = shifted - _SHIFT
    r = x - n * _LN_2_HIGH - n * _LN_2_LOW
    half_power = (_bits(shifted) << _MANTISSA_BITS) + (_ONE_HALF_EXPONENT << _MANTISSA_BITS)
    return _polynomial(_EXP, r) * _float(half_power)


def log(x: Value) -> Value:
    """e ln 2 + log(1 + f) with x = 2**e (1 + f)."""
    select = x.function.select
    tiny = x < _LEAST_NORMAL
    normal = _bits(select(tiny, x * 2.0**_MANTISSA_BITS, x))
    e = (normal - _ROOT_HALF_BITS) >> _MANTISSA_BITS
    f = _float(normal - (e << _MANTISSA_BITS)) - 1.0
    power = select(tiny, e - _MANTISSA_BITS, e).converted("float", "sitofp")
    square = f * f
    small = square * f * _polynomial(_LOG, f) - square * 0.5 + power * _LN_2_LOW
    value = small + f + power * _LN_2_HIGH
    edge = select(x.equals(0.0), x.like(-math.inf), x.like(math.nan))
    return select(x > 0.0, select(x < math.inf, value, x), edge)


def log1p(x: Value) -> Value:
    """log(u) x / (u - 1) with u the float nearest to 1 + x, as W. Kahan does it."""
    select = x.function.select
    u = x + 1.0
    logarithm = log(u)
    corrected = select(u < math.inf, logarithm * (x / (u - 1.0)), logarithm)
    return select(u.equals(1.0), x, corrected)


def erf(x: Value) -> Value:
    """x P(x**2) / Q(x**2), at most 1 and at least -1."""
    return _odd_rational(x, _ERF_MOST, _ERF_ABOVE, _ERF_BELOW)


def tanh(x: Value) -> Value:
    """x P(x**2) / Q(x**2), at most 1 and at least -1."""
    return _odd_rational(x, _TANH_MOST, _TANH_ABOVE, _TANH_BELOW)


def sigmoid(x: Value) -> Value:
    """1 / (1 + exp(-x))."""
    return x.like(1.0) / (exp(x.like(0.0) - x) + 1.0)


def _power(x: Value, exponent: int) -> Value:
    value = x.like(1.0)
    for _ in range(abs(exponent)):
        value = value * x
    return value if exponent >= 0 else x.like(1.0) / value


def _odd_rational(x: Value, most: float, above: Sequence[float], below: Sequence[float]) -> Value:
    x = _clamped(x, -most, most)
    square = x * x
    return _clamped(x * _polynomial(above, square) / _polynomial(below, square), -1.0, 1.0)


def _clamped(x: Value, least: float, most: float) -> Value:
    """``x`` between two bounds; NaN stays, which minimum and maximum do not promise."""
    raised = x.function.select(x < least, x.like(least), x)
    return x.function.select(raised > most, x.like(most), raised)


def _polynomial(coefficients: Sequence[float], x: Value) -> Value:
    value = x.like(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * x + coefficient
    return value


def _bits(x: Value) -> Value:
    return x.converted("i32", "bitcast")


def _float(bits: Value) -> Value:
    return bits.converted("float", "bitcast")


_POWERS = {power: functools.partial(_power, exponent=power) for power in range(-_MOST_POWER, _MOST_POWER + 1)}
_FORMULAS: Mapping[str, Formula] = {
    "tirx.exp": exp,
    "tirx.log": log,
    "tirx.log1p": log1p,
    "tirx.erf": erf,
    "tirx.tanh": tanh,
    "tirx.sigmoid": sigmoid,
}
