from __future__ import annotations

import pytest

from search.config import SearchConfig, load_config
from understudy import ConfigError


def test_written_configuration_reads_back_the_same(tmp_path):
    config = SearchConfig(data="photos", max_latency="2ms", objectives=("accuracy", "size"), trials=7)
    file = tmp_path / "config.yaml"
    file.write_text(config.to_yaml())
    assert load_config(file, {}) == config


def test_options_win_over_the_file_and_hyphens_are_fine(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("max-latency: 2ms\ntrials: 5\n")
    config = load_config(file, {"trials": 9})
    assert config.trials == 9
    assert config.goals.each[0].budget.limits == {"latency": 0.002}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trails: 5", "unknown key 'trails': did you mean 'trials'"),
        ("trials: many", "trials must be a whole number, but got 'many'"),
        ("trials: true", "trials must be a whole number, but got True"),
        ("trials: 0", "trials must be at least 1"),
        ("max-latency: 2", "max_latency must be a time with its unit, such as 2ms, but got 2"),
        ("max-latency: fast", "'fast' is not a time"),
        ("max-latency: teacher/0", "write by what the teacher's is divided"),
        ("max-memory: teacher/2", "only latency and size are known"),
        ("{max-latency: teacher/5, teacher: none, distill: hard-labels}", "there is to be none"),
        ("sampler: tpee", "did you mean 'tpe'"),
        ("objectives: [latency]", "must name accuracy"),
        ("objectives: [accuracy, speed]", "unknown objective 'speed'"),
        ("- 1", "must hold `key: value` lines"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(tmp_path, text, message):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        load_config(file, {})


def test_limits_are_seconds_and_bytes():
    limits = (
        SearchConfig(max_latency="250us", max_size="4MB", max_memory="1MiB", max_energy="5mJ")
        .goals.each[0]
        .budget.limits
    )
    assert limits == pytest.approx({"latency": 250e-6, "size": 4e6, "memory": 1048576.0, "energy": 0.005})


def test_limits_that_are_parts_of_the_teachers_follow_when_it_is_known():
    config = SearchConfig(
        profile=("x86-host", "rpi5"), max_latency=("teacher/5", "rpi5=8ms"), max_size="teacher/4"
    )
    assert config.relative
    assert [goal.budget.limits for goal in config.goals.each] == [{}, {"latency": 0.008}]
    known = config.within({"x86-host": {"latency": 1e-3, "size": 4e6}, "rpi5": {"latency": 0.1, "size": 2e6}})
    assert not known.relative
    here, there = (goal.budget.limits for goal in known.goals.each)
    assert here == pytest.approx({"latency": 2e-4, "size": 1e6})
    assert there == pytest.approx({"latency": 0.008, "size": 5e5})
    with pytest.raises(ConfigError, match="the teacher's size is not known on rpi5"):
        config.within({"x86-host": {"latency": 1e-3, "size": 4e6}, "rpi5": {}})


def test_paths_mean_the_same_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    (tmp_path / "mine.py").touch()
    monkeypatch.chdir(tmp_path)
    config = SearchConfig(data="photos", space="mine.py:Space", teacher="google/some-model").anchored()
    assert config.data == str(tmp_path / "photos")
    assert config.space == f"{tmp_path}/mine.py:Space"
    assert config.teacher == ("google/some-model",)
    assert config.run_path == tmp_path / "results" / "runs" / "photos"
    assert SearchConfig().anchored().data == "digits"


@pytest.mark.parametrize(("key", "value"), [("seed", -1), ("image_size", 4), ("objectives", ("accuracy", 1))])
def test_values_out_of_range_are_refused(key, value):
    with pytest.raises(ConfigError, match=key.rstrip("s")):
        SearchConfig(**{key: value})


def test_a_limit_for_one_of_several_profiles_wins_over_that_for_all():
    config = SearchConfig(profile=("rpi5", "rpi4"), max_latency=("8ms", "rpi4=20ms"), max_size="4MB")
    limits = {goal.target: goal.budget.limits for goal in config.goals.each}
    assert limits == {"rpi5": {"latency": 0.008, "size": 4e6}, "rpi4": {"latency": 0.02, "size": 4e6}}
    assert config.goals.objectives == ("accuracy", "latency@rpi5", "latency@rpi4")
    with pytest.raises(ConfigError, match="unknown profile 'rpi3'"):
        SearchConfig(profile=("rpi5", "rpi4"), max_latency=("rpi3=8ms",))
    assert SearchConfig(max_latency=("8ms", "9ms")).goals.each[0].budget.limits == pytest.approx(
        {"latency": 0.009}
    )


def test_as_if_one_profile_were_the_only_one():
    both = SearchConfig(
        profile=("x86-host", "rpi5"),
        max_latency=("2ms", "rpi5=8ms"),
        max_size=("x86-host=1MB",),
        board=("rpi5=127.0.0.1:9190:pi",),
    )
    pi, host = both.on("rpi5"), both.on("x86-host")
    assert pi.goals.each[0].budget.limits == {"latency": 0.008}
    assert host.goals.each[0].budget.limits == {"latency": 0.002, "size": 1e6}
    assert (list(pi.boards), list(host.boards)) == (["rpi5"], [])
