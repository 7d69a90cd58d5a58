"""The record on disk: readable whatever a kill left, and as a frame and tables."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_run import candidate, make_run
from numpy.random import default_rng
from rich.console import Console

from results.candidate import Candidate
from results.frame import read_frame
from results.store import RunStore
from results.table import candidates_table, front_table, students_table, time_table
from results.view import read_view
from understudy import RunError


@pytest.fixture(scope="module")
def record(tmp_path_factory) -> tuple[bytes, list[Candidate]]:
    store = RunStore.create(tmp_path_factory.mktemp("record") / "run")
    made = [candidate(number, default_rng(number)) for number in range(3)]
    made.append(Candidate(3, {"naïve": "größe\u2028\n"}, "k", "failed", "Zeile 1\nZeile 2"))
    for each in made:
        store.append(each)
    return (store.path / "candidates.jsonl").read_bytes(), made


@settings(max_examples=200, deadline=None)
@given(share=st.floats(0, 1))
def test_a_record_cut_at_any_byte_keeps_its_whole_lines_and_takes_the_next(record, tmp_path_factory, share):
    content, made = record
    cut = content[: int(share * len(content))]
    folder = tmp_path_factory.mktemp("cut")
    (folder / "candidates.jsonl").write_bytes(cut)
    store = RunStore(folder)
    whole = cut.count(b"\n")
    kept = store.candidates()
    assert kept[:whole] == made[:whole]
    assert len(kept) <= whole + 1  # a line that lacks its newline only is whole, too
    store.append(Candidate(99, {}, "", "failed", "after the kill"))
    assert store.candidates() == [*kept, Candidate(99, {}, "", "failed", "after the kill")]


def test_the_frame_has_a_row_a_candidate_in_people_s_units(tmp_path):
    store = make_run(tmp_path / "run", 30)
    frame = read_frame(store.path)
    first = store.candidates()[0]
    assert list(frame.number) == list(range(30))
    assert frame.latency_ms[0] == pytest.approx(1e3 * first.measurements["latency"].value)
    assert frame.size_mb[0] == pytest.approx(first.measurements["size"].value / 1e6)
    assert frame["choice.width"][0] == first.choice["width"]
    assert frame["seconds.train"].notna().sum() == sum("train" in each.seconds for each in store.candidates())
    assert set(frame.number[frame.on_front]) == {each.number for each in read_view(store).front}
    assert frame.accuracy[frame.state == "infeasible"].isna().all()


def test_the_frame_of_an_empty_run_has_its_columns(tmp_path):
    frame = read_frame(make_run(tmp_path / "run", 0, ended=False).path)
    assert len(frame) == 0
    assert {"number", "accuracy", "latency_ms", "on_front", "finished"} <= set(frame.columns)


def test_the_frame_of_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        read_frame(str(tmp_path))


def test_only_a_folder_that_holds_a_run_is_refused(tmp_path):
    path = tmp_path / "run"
    RunStore.create(path)
    (path / ".config.yaml.7.tmp").write_text("data: dig")  # what a kill leaves of a configuration half written
    RunStore.create(path).write_text("config.yaml", "data: digits\n")
    with pytest.raises(RunError, match=r"exists: continue it with `understudy resume"):
        RunStore.create(path)
    (path / "config.yaml").rename(path / "candidates.jsonl")
    with pytest.raises(RunError, match="exists"):
        RunStore.create(path)


def printed(*tables) -> str:
    console = Console(width=170, file=io.StringIO())
    for table in tables:
        console.print(table)
    return console.file.getvalue()


def test_tables_show_front_students_teacher_and_times(tmp_path):
    store = make_run(tmp_path / "run", 60)
    candidates, facts, students = store.candidates(), store.facts(), store.students()
    text = printed(front_table(candidates, facts), students_table(students, facts), time_table(candidates))
    assert f"#{read_view(store).front[0].number}" in text
    assert "teacher resnet50" in text
    assert "93.70 %" in text
    assert "train" in text
    assert "fell off the front" in text
    assert "over the limit of 2 ms" in printed(candidates_table(candidates))


def test_tables_say_on_which_split_and_how_many_of_the_front_were_taught(tmp_path):
    store = make_run(tmp_path / "run", 60)
    candidates, facts, students = store.candidates(), store.facts(), store.students()
    for table in (front_table(candidates, facts), candidates_table(candidates)):
        assert "accuracy (validation)" in printed(table)
    assert "test accuracy" in printed(students_table(students, facts))
    assert "front of the search" not in printed(students_table(students, {**facts, "finalists_of_front": [5, 5]}))
    caption = "Students after full training: 5 of the 9 on the front of the search"
    assert caption in printed(students_table(students, {**facts, "finalists_of_front": [5, 9]}))


def test_tables_of_an_empty_run_are_empty():
    assert "0 of 0" in printed(front_table([], {}), students_table([], {}), time_table([]), candidates_table([]))


def test_tables_take_names_that_look_like_markup():
    odd = Candidate(0, {"[bold]": "[/x]"}, "", "failed", "[red]no[/y]")
    assert "[red]no[/y]" in printed(candidates_table([odd]), front_table([odd], {"teacher": {"name": "[/b]"}}))


def test_a_target_of_a_run_that_has_only_one_is_refused(tmp_path):
    with pytest.raises(RunError, match="one hardware target only, so leave out --profile rpi5"):
        read_view(make_run(tmp_path / "run", 5), "rpi5")
