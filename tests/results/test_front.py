from __future__ import annotations

import itertools
import time

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.budget import Budget
from results.candidate import Candidate
from results.front import (
    hypervolume_of,
    hypervolume_over_time,
    minimised,
    pareto_front,
    reference_point,
)
from results.hypervolume import exclusive_volume, hypervolume
from results.measurement import Measurement

OBJECTIVES = ("accuracy", "latency")
NO_LIMIT = Budget()
grid = st.integers(0, 6).map(lambda value: value / 6)


def made(number: int, accuracy: float, latency: float, state="done", size: float = 1e6) -> Candidate:
    figures = {
        "accuracy": Measurement(accuracy, "share"),
        "latency": Measurement(latency, "s"),
        "size": Measurement(size, "byte"),
    }
    return Candidate(number, {"width": number}, str(number), state, "", figures, elapsed=float(number))


def test_front_keeps_the_undominated_best_accuracy_first():
    candidates = [made(0, 0.8, 0.002), made(1, 0.9, 0.003), made(2, 0.7, 0.002), made(3, 0.6, 0.001)]
    assert [each.number for each in pareto_front(candidates, OBJECTIVES, NO_LIMIT)] == [1, 0, 3]


def test_front_leaves_out_what_is_over_budget_not_done_or_without_a_figure():
    bare = Candidate(3, {}, "3", "done", "", {"accuracy": Measurement(0.99, "share")})
    candidates = [made(0, 0.9, 0.003), made(1, 0.8, 0.001), made(2, 0.95, 0.001, state="pruned"), bare]
    assert [each.number for each in pareto_front(candidates, OBJECTIVES, Budget({"latency": 0.002}))] == [1]


def test_front_keeps_the_first_of_equal_candidates():
    assert [
        each.number for each in pareto_front([made(4, 0.8, 0.1), made(2, 0.8, 0.1)], OBJECTIVES, NO_LIMIT)
    ] == [2]


@given(st.lists(st.tuples(grid, grid, grid), max_size=12))
def test_front_is_what_pairwise_comparison_leaves(rows):
    objectives = ("accuracy", "latency", "size")
    candidates = [made(number, *row[:2], size=row[2]) for number, row in enumerate(rows)]
    front = {minimised(each, objectives) for each in pareto_front(candidates, objectives, NO_LIMIT)}
    points = {minimised(each, objectives) for each in candidates}
    left = {
        p for p in points if not any(q != p and all(a <= b for a, b in zip(q, p, strict=True)) for q in points)
    }
    assert front == left


def on_grid(points, cells: int, dimensions: int) -> float:
    """Dominated share of the unit cube, cell by cell; exact for points on the grid."""
    covered = sum(
        any(
            all(value * cells <= index + 1e-9 for value, index in zip(point, cell, strict=True))
            for point in points
        )
        for cell in itertools.product(range(cells), repeat=dimensions)
    )
    return covered / cells**dimensions


@given(st.integers(1, 4).flatmap(lambda d: st.lists(st.tuples(*[grid] * d), min_size=1, max_size=8)))
def test_hypervolume_is_the_count_of_dominated_cells(points):
    dimensions = len(points[0])
    assert hypervolume(points, (1.0,) * dimensions) == pytest.approx(on_grid(points, 6, dimensions))


@given(st.integers(1, 5).flatmap(lambda d: st.lists(st.tuples(*[grid] * d), min_size=1, max_size=8)))
def test_a_point_adds_what_the_volume_lacks_without_it(points):
    ones = (1.0,) * len(points[0])
    lacking = hypervolume(points, ones) - hypervolume(points[1:], ones)
    assert exclusive_volume(points[0], points[1:], ones) == pytest.approx(lacking, abs=1e-12)


@pytest.mark.parametrize("dimensions", [2, 3, 4])
def test_hypervolume_agrees_with_optuna(dimensions):
    points = np.random.default_rng(dimensions).random((30, dimensions))
    reference = np.full(dimensions, 0.9)
    inside = points[(points < reference).all(axis=1)]
    expected = optuna._hypervolume.compute_hypervolume(inside, reference)
    assert hypervolume(points.tolist(), reference.tolist()) == pytest.approx(expected)


def test_hypervolume_of_nothing_or_of_points_beyond_the_reference_is_0():
    assert hypervolume([], (1.0, 1.0)) == hypervolume([(1.0, 0.2), (2.0, 0.0)], (1.0, 1.0)) == 0.0


def test_hypervolume_refuses_points_of_another_length():
    with pytest.raises(ValueError, match="must have 2 coordinates"):
        hypervolume([(0.1,)], (1.0, 1.0))


def test_reference_is_the_limit_or_a_tenth_beyond_the_worst():
    candidates = [made(0, 0.8, 0.001), made(1, 0.9, 0.002)]
    assert reference_point(candidates, OBJECTIVES, Budget({"latency": 0.004})) == (0.0, 0.004)
    assert reference_point(candidates, OBJECTIVES, NO_LIMIT) == (0.0, pytest.approx(0.0022))
    assert reference_point([], OBJECTIVES, NO_LIMIT) == (0.0, 1.0)


def test_hypervolume_over_time_is_a_share_in_order_of_finishing():
    budget = Budget({"latency": 0.004})
    candidates = [made(0, 0.5, 0.002), made(2, 0.5, 0.001), made(1, 0.4, 0.01, state="infeasible")]
    assert hypervolume_over_time(candidates, OBJECTIVES, budget) == pytest.approx([0.25, 0.25, 0.375])


@given(st.lists(st.tuples(grid, grid, grid), max_size=8))
def test_the_hypervolume_of_candidates_is_the_last_over_time_and_the_count_of_cells(rows):
    objectives = ("accuracy", "latency", "size")
    budget = Budget({"latency": 1.0, "size": 1.0})
    candidates = [made(number, *row[:2], size=row[2]) for number, row in enumerate(rows)]
    volume = hypervolume_of(candidates, objectives, budget)
    points = [(1 - accuracy, latency, size) for accuracy, latency, size in rows]
    assert volume == pytest.approx(on_grid(points, 6, 3))
    assert volume == pytest.approx((hypervolume_over_time(candidates, objectives, budget) or [0.0])[-1])


def test_the_hypervolume_of_a_large_front_is_quick():
    directions = np.abs(np.random.default_rng(0).normal(size=(60, 4)))
    points = 1 - directions / np.linalg.norm(directions, axis=1, keepdims=True)
    start = time.process_time()
    hypervolume(points.tolist(), (1.0,) * 4)
    assert time.process_time() - start < 0.05


@given(st.lists(st.tuples(grid, grid.map(lambda value: value + 0.1)), max_size=15))
def test_hypervolume_over_time_only_grows_within_0_and_1(rows):
    volumes = hypervolume_over_time([made(n, *row) for n, row in enumerate(rows)], OBJECTIVES, NO_LIMIT)
    assert volumes == sorted(volumes)
    assert all(0 <= volume <= 1 for volume in volumes)
