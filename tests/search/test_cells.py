"""Cells among the choices of a space, and what their graphs tell, against all ways followed one by one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from search.samplers.candidates import Candidates
from search.samplers.cells import cells_in
from search.samplers.encoding import Encoding
from spaces.catalogue import load_space

VALUES = ("pool", "none", "conv1", "conv3", "skip_connect")
STEPS = [0, 2, 3]


def _domain(nodes, values=VALUES):
    edges = sorted(itertools.combinations(range(nodes), 2), key=lambda edge: edge[::-1])
    return {f"edge_{before}-{after}": values for before, after in edges}, edges


def _ways(edges, node, end):
    if node == end:
        return [()]
    return [
        (at, *rest)
        for at, (before, after) in enumerate(edges)
        if before == node
        for rest in _ways(edges, after, end)
    ]


@pytest.mark.parametrize("nodes", [3, 4, 5])
def test_what_a_cell_is_like_follows_from_its_ways(nodes):
    domain, edges = _domain(nodes)
    (cell,) = cells_in(domain)
    ways = _ways(edges, 0, nodes - 1)
    codes = np.random.default_rng(nodes).integers(len(VALUES), size=(60, len(edges)))
    canonical, shape = cell.canonical(codes), cell.shape(codes)
    for row, code in enumerate(codes):
        open_ways = [way for way in ways if all(code[at] != 1 for at in way)]
        alive = {at for way in open_ways for at in way}
        assert canonical[row].tolist() == [value if at in alive else 1 for at, value in enumerate(code)]
        counts = [[sum(code[at] == step for at in way) for step in STEPS] for way in open_ways]
        totals = [sum(each) for each in counts]
        most = [max((each[at] for each in counts), default=0) for at in range(len(STEPS))]
        expected = [max(totals, default=0), min(totals, default=0), *most]
        scaled = [len(open_ways) / math.sqrt(len(ways)), *(each / math.sqrt(nodes - 1) for each in expected)]
        np.testing.assert_allclose(shape[row], scaled)
        assert cell.carries(codes)[row] == bool(open_ways)


@pytest.mark.parametrize("nodes", [4, 6])
def test_what_carries_nothing_is_not_looked_at(nodes):
    domain, _ = _domain(nodes)
    (cell,) = cells_in(domain)
    pool = Candidates(domain, [], None).pool(np.empty((0, len(domain)), int), [], np.random.default_rng(0))
    assert len(pool) > 1000
    assert cell.carries(pool.codes).all()


def test_edges_that_change_nothing_are_encoded_alike():
    encoding = Encoding(_domain(4)[0])
    straight = {"edge_0-1": "none", "edge_0-2": "conv3", "edge_2-3": "conv3", "edge_0-3": "skip_connect"}
    rows = encoding.rows(
        encoding.codes([{**straight, "edge_1-2": dead, "edge_1-3": dead} for dead in ("none", "conv1", "pool")])
    )
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(rows[0], rows[2])


def test_a_space_without_an_absent_edge_keeps_all_its_edges():
    domain, _ = _domain(4, ("conv1", "skip_connect"))
    (cell,) = cells_in(domain)
    codes = np.array(list(itertools.product(range(2), repeat=6)))
    np.testing.assert_array_equal(cell.canonical(codes), codes)


def test_cells_are_known_by_names_values_and_graph():
    assert len(cells_in(load_space("nni:NasBench201", channels=3, image_size=32, classes=10).domain)) == 1
    two = {f"{name}/{edge}": VALUES for name in ("normal", "reduce") for edge in ("0_1", "0_2", "1_2")}
    assert len(cells_in(two)) == 2


@pytest.mark.parametrize(
    "domain",
    [
        {f"block_{edge}": (8, 16) for edge in ("0_1", "0_2", "1_2")},  # numbers: no operations
        {f"op_{edge}": VALUES for edge in ("1_0", "2_0", "2_1")},  # from higher to lower nodes
        {f"edge_{edge}": VALUES for edge in ("0_1", "0_2")},  # two outputs
        {f"edge_{edge}": VALUES for edge in ("0_1",)},  # one edge: nothing to follow
        {"edge_0-1": VALUES, "edge_0-2": VALUES[:3], "edge_1-2": VALUES},  # values that differ
    ],
)
def test_other_choices_are_no_cell(domain):
    assert cells_in(domain) == []
