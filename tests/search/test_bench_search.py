"""The benchmark of searches on a small table made up here."""

from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd
import pytest

from results.hypervolume import hypervolume
from tests.benchmarks.search.__main__ import main
from tests.benchmarks.search.report import result_line, row_of
from tests.benchmarks.search.searching import search_table
from tests.benchmarks.search.table import TableSpace, read_table


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """54 of 64 architectures; one was never timed (0.1 ms is no latency), two are the same figures twice."""
    rows = []
    for number, (first, second, width) in enumerate(itertools.product("abcd", "abcd", (8, 16, 32, 64))):
        if number % 7 == 3:
            continue
        work = ("abcd".index(first) + 2 * "abcd".index(second) + 1) * width
        rows.append(
            {"choice:first": first, "choice:second": second, "choice:width": width}
            | {"accuracy:val": 90 - 3000 / (work + 40) - number % 3, "latency_ms:board": 1 + work / 50}
        )
    frame = pd.DataFrame(rows)
    frame.loc[5, "latency_ms:board"] = 0.1
    path = tmp_path_factory.mktemp("table") / "table.csv"
    frame.to_csv(path, index=False)
    return path


def test_what_a_table_says(file):
    table = read_table(file, "accuracy:val", "latency_ms:board")
    assert len(table.choices) == 55
    assert len(table.points(range(55))) == 54
    assert table.reference[0] == 0.8
    assert row_of(table, search_table(table, "random", 0, 60))["hypervolume"][-1] == pytest.approx(1)
    assert table.best_volume == pytest.approx(hypervolume(table.points(range(55)), table.reference))


def test_a_combination_that_the_table_lacks_is_its_nearest_row(file):
    space = TableSpace(read_table(file, "accuracy:val", "latency_ms:board"))
    missing = {"first": "a", "second": "a", "width": 64}
    there = space.row(missing)
    assert space.signature(missing) == space.signature(space._table.choices[there])
    assert sum(space._table.choices[there][name] != value for name, value in missing.items()) == 1


@pytest.mark.parametrize("sampler", ["understudy", "tpe"])
def test_only_new_accuracies_count(file, sampler):
    table = read_table(file, "accuracy:val", "latency_ms:board")
    trace = search_table(table, sampler, 0, 20)
    assert len(trace.rows) == len(set(trace.rows)) == 20
    assert all(table.latency[row] <= table.reference[1] for row in trace.rows)
    assert len(trace.seconds) >= 20


def test_a_search_that_is_told_a_limit_keeps_within_it(file):
    table = read_table(file, "accuracy:val", "latency_ms:board")
    limit = table.limits[1]
    told = search_table(table.within(limit), "understudy", 0, 20)
    assert all(table.latency[row] <= limit for row in told.rows)
    alone = search_table(table.within(limit, "accuracy"), "understudy", 0, 20)
    assert table.best_accuracy(alone.rows, limit) == table.best_accuracy(range(55), limit)
    row = row_of(table, search_table(table, "random", 0, 3), [told] * 3, [alone] * 3)
    assert row["points_missed_alone"][1] == 0
    missed = table.best_accuracy(range(55), limit) - table.best_accuracy(told.rows, limit)
    assert row["points_missed_within"][1] == pytest.approx(100 * missed, abs=1e-3)


def test_the_command_goes_on_where_it_was(file, tmp_path, capsys):
    command = ["--table", str(file), "--accuracy", "accuracy:val", "--seeds", "1", "--processes", "1"]
    command += ["--methods", "understudy", "random", "--evaluations", "15", "--out", str(tmp_path)]
    main(command)
    first = capsys.readouterr().out
    main(command)
    again = capsys.readouterr().out
    assert "2 of 2" in first
    assert "of 2" not in again
    assert first.splitlines()[-1] == again.splitlines()[-1]
    assert first.splitlines()[-1].startswith("RESULT search hv50=")
    assert (tmp_path / "search.png").exists()
    main([*command, "--earlier", "accuracy:val"])
    warm = capsys.readouterr().out
    assert "1 of 1" in warm
    assert "| understudy, warm |" in warm


def test_a_table_that_is_not_there_is_skipped(tmp_path, capsys):
    main(["--table", str(tmp_path / "none.parquet")])
    assert capsys.readouterr().out.startswith("skipped")


def test_the_result_is_that_of_the_worst_device():
    from tests.benchmarks.search.report import Line

    lines = [
        Line(device, "understudy", 1, (0.8, volume, 0.95, 0.99), (0.0,) * 4, *[(0.0,) * 3] * 3, 0.1)
        for device, volume in (("one", 0.9), ("other", 0.85))
    ]
    assert (
        result_line(lines, "understudy")
        == "RESULT search hv50=0.850 hv100=0.950 hv200=0.990 (minimum over devices)"
    )
