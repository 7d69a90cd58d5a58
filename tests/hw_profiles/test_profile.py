from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from hw_profiles.profile import Profile, load_profile, profile_names, read_profile
from understudy import ProfileError

DATA = Path(__file__).parents[2] / "hw_profiles" / "data"
AVX2 = DATA / "x86-64-avx2.toml"


def test_every_profile_loads_and_gives_a_tvm_target():
    for name in profile_names():
        profile = load_profile(name)
        assert profile.name == name
        assert profile.tvm_target["mcpu"] == profile.mcpu
        assert profile.tvm_target["mtriple"] == f"{profile.isa}-linux-gnu"
        assert profile.tvm_target["num-cores"] == profile.threads
        assert pickle.loads(pickle.dumps(profile)) == profile
        assert hash(profile) == hash(load_profile(name))


def test_every_figure_has_a_source():
    for name in profile_names():
        profile = load_profile(name)
        figures = {f.name for f in dataclasses.fields(Profile)} - {"name", "isa", "reach", "sources"}
        assert figures <= profile.sources.keys()


def test_unknown_profile_names_the_nearest():
    with pytest.raises(ProfileError, match="did you mean 'x86-host'"):
        load_profile("x86-hots")


def test_a_path_is_no_profile_name():
    with pytest.raises(ProfileError, match="unknown profile"):
        load_profile("../data/x86-64-avx2")


def test_threads_are_chosen_within_the_cores():
    profile = dataclasses.replace(load_profile("x86-64-avx2"), cores=4)
    assert profile.with_threads(3).tvm_target["num-cores"] == 3
    for wrong in (0, 5):
        with pytest.raises(ProfileError, match=r"threads must be"):
            profile.with_threads(wrong)


def test_reach_follows_the_flags_of_this_computer():
    needed = frozenset(load_profile("x86-64-avx2").features)
    assert read_profile(AVX2, needed | {"sse4a"}).reach == "host"
    assert read_profile(AVX2, needed - {"fma"}).reach == "none"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cores = 1", "coers = 1", "did you mean 'cores'"),
        ("clock_ghz = 2.0", "", "must give clock_ghz"),
        ("clock_ghz = 2.0", "clock_ghz = nan", "clock_ghz must be"),
        ("cores = 1", 'cores = "one"', "cores must be a whole number"),
        ("fma = true", "fma = false", "fma must say"),
        ("l3_bytes = 0", "l3_bytes = -1", "l3_bytes must be"),
        ("vector_bits = 256", "vector_bits = 100", "vector_bits must be"),
        ('"avx2", ', "", "missing: .'avx2'"),
        ('mcpu = "x86-64-v3"', 'mcpu = "x86-64-v33"', "did you mean 'x86-64-v3'"),
        ('isa = "x86_64"', 'isa = "arm"', "isa must be"),
        ('memory_bytes = "assumed', 'isa = "assumed', "missing: .'memory_bytes'"),
        ("cores = 1", "cores = ", "cannot read the profile"),
    ],
)
def test_a_wrong_data_file_is_refused(tmp_path, old, new, message):
    text = AVX2.read_text()
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(ProfileError, match=message):
        read_profile(tmp_path / "mine.toml", frozenset())


def test_profiles_load_without_tvm_or_torch():
    code = (
        "import sys, hw_profiles.profile as p; p.load_profile('x86-64-avx2');"
        "assert not {'tvm', 'torch', 'nni'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
