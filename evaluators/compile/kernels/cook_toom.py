"""Minimal filtering F(m, 3): matrices, and how they are applied to vectors with few operations.

Winograd, "Arithmetic Complexity of Computations" (1980); Lavin and Gray, "Fast Algorithms for Convolutional Neural
Networks" (2016): m outputs of a correlation with 3 taps cost m + 2 products, ``A^T ((G g) * (B^T d))``. The
matrices follow from m + 1 interpolation points and infinity. Rounding grows with the points' spread: 0, +-5/8 and
+-3/2 lose a quarter of what 0, +-1, +-2 lose (measured on sums over 256 channels; Barabasz et al., "Error Analysis
and Improving the Accuracy of Winograd Convolution", 2020, on why).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from tvm.ir import Expr
from tvm.tirx import Stmt

from evaluators.compile.kernels.emit import bind, constant

TAPS = 3
POINTS = {
    2: (Fraction(0), Fraction(1), Fraction(-1)),
    4: (Fraction(0), Fraction(5, 8), Fraction(-5, 8), Fraction(3, 2), Fraction(-3, 2)),
}
"""Outputs of a one-dimensional filter and its interpolation points: opposite points stand side by side."""

Row = tuple[float, ...]


@dataclass(frozen=True)
class Filter:
    """F(m, 3): ``outputs`` (A^T, m x n), ``weights`` (G, n x 3) and ``inputs`` (B^T, n x n), with n = m + 2."""

    outputs: tuple[Row, ...]
    weights: tuple[Row, ...]
    inputs: tuple[Row, ...]


def minimal_filter(m: int) -> Filter:
    """The matrices of F(m, 3)."""
    points = POINTS[m]
    others = [[q for q in points if q != p] for p in points]
    outputs = [[*(p**i for p in points), Fraction(int(i == m - 1))] for i in range(m)]
    weights = [
        [p**k / _product([p - q for q in rest]) for k in range(TAPS)]
        for p, rest in zip(points, others, strict=True)
    ]
    weights.append([Fraction(0), Fraction(0), Fraction(1)])
    inputs = [[*_polynomial(rest), Fraction(0)] for rest in others]
    inputs.append(_polynomial(points))
    return Filter(_floats(outputs), _floats(weights), _floats(inputs))


def _product(factors: Sequence[Fraction]) -> Fraction:
    result = Fraction(1)
    for factor in factors:
        result *= factor
    return result


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """The coefficients of the product of (x - root), constant first."""
    result = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *result], [-root * value for value in result] + [Fraction(0)]
        result = [a + b for a, b in zip(shifted, scaled, strict=True)]
    return result


def _floats(rows: Sequence[Sequence[Fraction]]) -> tuple[Row, ...]:
    return tuple(tuple(float(value) for value in row) for row in rows)


def transform_inputs(matrix: Sequence[Row], values: Sequence[Expr], lanes: int, to: list[Stmt]) -> list[Expr]:
    """``matrix`` (B^T) times the vectors; rows of opposite points share their even and their odd part."""
    results: list[Expr] = []
    while len(results) < len(matrix):
        row = matrix[len(results)]
        partner = matrix[len(results) + 1] if len(results) + 1 < len(matrix) else ()
        if not partner or [abs(a) for a in row] != [abs(b) for b in partner]:
            results.append(bind(_sum(row, values, lanes), lanes, to))
            continue
        even = [a if a == b else 0.0 for a, b in zip(row, partner, strict=True)]
        odd = [a if a != b else 0.0 for a, b in zip(row, partner, strict=True)]
        lead = next(a for a in reversed(odd) if a)
        same = bind(_sum(even, values, lanes), lanes, to)
        opposite = bind(_sum([a / lead for a in odd], values, lanes), lanes, to)
        scaled = opposite if lead == 1 else constant(lead, lanes) * opposite
        results += [bind(same + scaled, lanes, to), bind(same - scaled, lanes, to)]
    return results


def transform_outputs(matrix: Sequence[Row], values: Sequence[Expr], lanes: int, to: list[Stmt]) -> list[Expr]:
    """``matrix`` (A^T) times the vectors; columns of opposite points enter as their sum or their difference."""
    sums, differences = [values[0]], [values[0]]
    columns = [0]
    for j in range(1, len(values) - 1, 2):
        sums.append(bind(values[j] + values[j + 1], lanes, to))
        differences.append(bind(values[j] - values[j + 1], lanes, to))
        columns.append(j)
    results = []
    for i, row in enumerate(matrix):
        terms = [*(differences if i % 2 else sums), values[-1]]
        factors = [*(row[j] for j in columns), row[-1]]
        results.append(bind(_sum(factors, terms, lanes), lanes, to))
    return results


def _sum(factors: Sequence[float], values: Sequence[Expr], lanes: int) -> Expr:
    """The sum of factors times values, as additions and fused multiply-adds around the plainest term."""
    terms = sorted(
        ((factor, value) for factor, value in zip(factors, values, strict=True) if factor),
        key=lambda term: abs(term[0]) != 1 or term[0] < 0,
    )
    factor, value = terms[0]
    result = value if factor == 1 else constant(factor, lanes) * value
    for factor, value in terms[1:]:
        if abs(factor) == 1:
            result = result + value if factor > 0 else result - value
        else:
            result = constant(factor, lanes) * value + result
    return result
