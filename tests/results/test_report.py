"""The report: its plain series, its HTML in a real browser, and the same front without one."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_run import make_run
from PIL import Image
from rich.console import Console
from rich.table import Table

from results.candidate import Candidate
from results.measurement import Measurement
from results.report import write_report
from results.report.comparison import teacher_bars, time_series
from results.report.importance import encode, importance
from results.report.page import embedded, report_html
from results.report.parallel import parallel_series
from results.report.sections import best_student, heading_html, students_hint
from results.report.series import front_series, progress_series, ticks
from results.report.teaching import teaching_html, teaching_series
from results.store import RunStore
from results.table import gain_text, students_table
from results.view import read_view, teacher_of

CHROMIUM = shutil.which("chromium")
QUIET = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--virtual-time-budget=8000"),
    *("--enable-logging=stderr", "--v=0"),
]
CLICK = """<script>document.querySelector('tr[data-spot="s{number}"]').click();</script></body>"""


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> RunStore:
    store = make_run(tmp_path_factory.mktemp("runs") / "my beans", 60)
    write_report(store)
    return store


def in_browser(page: Path, profile: Path) -> tuple[str, list[str]]:
    """The page's DOM once its scripts have run, and what they said on the console."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *QUIET, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@needs_browser
def test_a_browser_shows_every_point_and_the_panel_of_a_clicked_student(store, tmp_path):
    student = store.students()[1]
    page = tmp_path / "page.html"
    html = (store.path / "report.html").read_text().replace("</body>", CLICK.format(number=student.number))
    page.write_text(html)
    dom, said = in_browser(page, tmp_path / "profile")
    assert said == []
    front = dom[dom.index('id="front"') : dom.index('id="panel"')]
    assert len(re.findall(r'<path class="point ', front)) == 60 + len(store.students()) + 1
    panel = re.sub("</?span>", "", dom[dom.index('id="panel"') : dom.index("</aside>")])
    assert f"Student #{student.number}" in panel
    assert f"--number {student.number} --to bundle/" in panel
    assert f"understudy deploy '{store.path}'" in panel


@needs_browser
def test_a_browser_shows_an_empty_run_without_complaint(tmp_path):
    write_report(make_run(tmp_path / "run", 0, ended=False))
    dom, said = in_browser(tmp_path / "run" / "report.html", tmp_path / "profile")
    assert said == []
    assert "No candidate has finished yet" in dom


def test_the_report_asks_for_nothing_from_a_network(store):
    html = (store.path / "report.html").read_text()
    assert re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"'](?!data:)", html) == []
    styles = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in styles
    assert "@import" not in styles


@pytest.mark.parametrize(("count", "ended"), [(1, False), (2, True), (14, True)])
def test_reports_of_few_candidates_are_written(tmp_path, count, ended):
    store = make_run(tmp_path / "run", count, ended=ended)
    assert write_report(store).stat().st_size > 1e6
    assert (store.path / "front.png").stat().st_size > 1000


def test_reports_without_facts_and_of_unfit_candidates_only_are_written(tmp_path):
    store = RunStore.create(tmp_path / "run")
    write_report(store)
    over = {"latency": Measurement(0.003, "s"), "size": Measurement(1e6, "byte")}
    store.append(Candidate(0, {"width": 1}, "a", "infeasible", "over", over))
    store.append(Candidate(1, {"width": 2}, "b", "failed", "could not be compiled </script><b>"))
    store.write_facts({"objectives": ["accuracy", "size"], "teacher": {"name": "<i>", "accuracy": 0.9}})
    html = write_report(store).read_text()
    assert "could not be compiled &lt;/script&gt;&lt;b&gt;" in html
    assert "None of 2 candidates" in html


def test_the_report_says_on_which_split_and_how_many_of_the_front_were_taught(store):
    view = read_view(store)
    assert len(view.students) < len(view.front)
    html = (store.path / "report.html").read_text()
    assert f"{len(view.students)} of {len(view.front)} on the front of the search, taught to the end" in html
    assert "Accuracy and agreement are on the test split" in html
    assert "accuracy (%, validation)" in html
    assert "of the test samples right" in html
    assert "of the search, taught" not in students_hint(replace(view, facts={"finalists_of_front": [5, 5]}))
    assert "5 of 7 on the front" in students_hint(replace(view, facts={"finalists_of_front": [5, 7]}))


def test_the_front_is_a_picture_without_a_browser(store):
    pixels = np.asarray(Image.open(store.path / "front.png").convert("RGB"))
    assert pixels.shape[0] > 600
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
    assert (store.path / "front.svg").read_text().lstrip().startswith("<?xml")


def test_the_front_series_has_every_spot_in_people_s_units(store):
    view = read_view(store)
    series = front_series(view)
    by_label = {spot.label: spot for spot in series.spots}
    first = view.front[0]
    spot = by_label[f"c{first.number}"]
    assert len(series.spots) == 60 + len(view.students) + 1
    assert spot.kind == "front"
    assert spot.x == pytest.approx(1e3 * first.measurements["latency"].value)
    assert spot.low < spot.x < spot.high
    assert spot.y == pytest.approx(100 * first.measurements["accuracy"].value)
    assert by_label[f"s{first.number}"].before == pytest.approx((spot.x, spot.y))
    assert (series.limit, series.unit, series.teacher) == (2.0, "ms", pytest.approx(94.1))
    assert all(spot.y is None for spot in series.of("infeasible"))


def test_progress_runs_by_candidates_and_by_the_clock(store):
    series = progress_series(read_view(store))
    assert series.counts == tuple(range(1, 61))
    assert list(series.volumes) == sorted(series.volumes)
    assert series.hours[-1] == pytest.approx(store.candidates()[-1].elapsed / 3600)


def test_importance_finds_the_choice_that_decides():
    rng = np.random.default_rng(0)
    candidates = [
        Candidate(n, {"a": int(rng.integers(4)), "b": str(rng.choice(["x", "y"])), "c": 1}, str(n), "done")
        for n in range(60)
    ]
    measured = [
        Candidate(
            **{**vars(each), "measurements": {"accuracy": Measurement(0.5 + 0.1 * each.choice["a"], "share")}}
        )
        for each in candidates
    ]
    found = importance(measured, "accuracy")
    assert found is not None
    assert found.fit > 0.9
    assert [name for name, _ in found.shares] == ["a", "b"]
    assert found.shares[0][1] > 0.9
    assert sum(share for _, share in found.shares) == pytest.approx(1)
    assert importance(measured[:5], "accuracy") is None
    assert importance(measured, "latency") is None


def test_choices_become_numbers():
    assert encode([0.5, None, 2]).tolist() == [0.5, -1.0, 2.0]
    assert encode(["b", "a", None]).tolist() == [2.0, 1.0, 0.0]


def test_parallel_lines_stay_between_the_ends_of_the_axes(store):
    series = parallel_series(read_view(store), ["width"], most=3)
    assert series is not None
    assert [axis.name for axis in series.axes][-4:] == ["accuracy", "latency", "size", "peak memory"]
    assert len(series.axes) == 7
    assert "width" in [axis.name for axis in series.axes]
    assert all(-0.1 <= height <= 1.1 for line in series.lines for height in line.heights)
    assert series.lines[-1].on_front


def test_bars_compare_the_teacher_with_every_student(store):
    view = read_view(store)
    accuracy, latency, _ = teacher_bars(view)
    assert accuracy.names == ("teacher", *(f"student #{each.number}" for each in view.students))
    assert accuracy.values[0] == pytest.approx(93.7)
    assert latency.values[0] == pytest.approx(21.3)
    assert latency.above[0] == pytest.approx(0.5)


def test_the_report_shows_who_was_taught_by_what_and_what_it_bought(store):
    view = read_view(store)
    series = teaching_series(view)
    medians = [statistics.median(values) for values in series.accuracies]
    assert medians == sorted(medians, reverse=True)
    assert set(series.methods) == {"soft-targets", "dkd", "hints"}
    assert sum(map(len, series.accuracies)) == sum(each.state == "done" for each in view.candidates)
    page = report_html(view, store.path)
    assert "How they were taught" in page
    assert "Accuracy by way of teaching" in page
    assert gain_text(view.students[0]) == "+1.50 points"
    table = plain(students_table(view.students, view.facts))
    assert "over itself alone" in table
    assert view.students[0].taught_by in table
    alone = [replace(each, measurements={}, taught_by="") for each in view.students]
    assert teaching_html(alone) == ""
    assert "over itself alone" not in plain(students_table(alone, view.facts))


def test_the_assistant_is_named_with_its_accuracy_beside_the_teacher(store):
    facts = {**store.facts(), "assistant": {"name": "assistant-0.3 of resnet50", "accuracy": 0.921}}
    view = replace(read_view(store), facts=facts, assistant=teacher_of(facts, "assistant"))
    page = report_html(view, store.path)
    assert "<td>assistant-0.3 of resnet50</td>" in page
    assert "its assistant, assistant-0.3 of resnet50, who taught it, 92.10" in page
    table = plain(students_table(view.students, facts))
    assert re.search("assistant-0.3 of resnet50.*92.10", table)


def plain(table: Table) -> str:
    console = Console(width=300)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_time_adds_up(store):
    series = time_series(read_view(store))
    assert series is not None
    assert sum(series.totals) == pytest.approx(sum(sum(each.seconds.values()) for each in store.candidates()))


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.15, 3, [0.2, 0.5, 1, 2]), (1, 1, [1]), (90, 300, [100, 200]), (3, 4, [])]
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == expected


def test_embedded_data_cannot_close_its_script():
    text = embedded({"a": "</script><!--\u2028"})
    assert "<" not in text
    assert json.loads(text) == {"a": "</script><!--\u2028"}


def test_what_is_said_of_speed_holds_for_the_quartiles_and_names_estimates(tmp_path):
    view = read_view(make_run(tmp_path / "run"))
    best = best_student(view)
    latency = best.measurements["latency"]
    least = view.teacher.latency.low / (latency.high or latency.value)
    assert f"at least <strong>{least:.3g} times</strong>" in heading_html(view)
    guessed = replace(best, measurements={**best.measurements, "latency": replace(latency, source="predicted")})
    others = tuple(guessed if each.number == best.number else each for each in view.students)
    said = heading_html(replace(view, students=others))
    assert f"~{latency}" in said
    assert "by estimate, not measured there" in said
