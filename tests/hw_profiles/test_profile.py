from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from hw_profiles.profile import load_profile, profile_names, read_profile
from understudy import ProfileError

DATA = Path(__file__).parents[2] / "hw_profiles" / "data"
AVX2 = DATA / "x86-64-avx2.toml"


def test_every_profile_loads_and_gives_a_tvm_target():
    for name in profile_names():
        profile = load_profile(name)
        assert profile.name == name
        host = profile.tvm_target if profile.gpu is None else profile.tvm_target["host"]
        assert host["mcpu"] == profile.mcpu
        assert host["mtriple"] == f"{profile.isa}-linux-gnu"
        assert host["num-cores"] == profile.threads
        assert pickle.loads(pickle.dumps(profile)) == profile
        assert hash(profile) == hash(load_profile(name))


def test_tvm_takes_every_target():
    from tvm.target import Target

    for name in profile_names():
        profile = load_profile(name)
        target = Target(dict(profile.tvm_target))
        assert target.kind.name == ("llvm" if profile.gpu is None else "cuda")


def test_peak_arithmetic_is_computed_where_it_is_not_given():
    avx2, gpu = load_profile("x86-64-avx2"), load_profile("jetson-orin-nano")
    assert (avx2.peak(), avx2.peak("int8")) == (64e9, 128e9)
    assert load_profile("rpi5").peak("int8") == 4 * load_profile("rpi5").peak() == 4 * 4 * 2.4e9 * 16
    assert (
        dataclasses.replace(avx2, peaks={"int8": 5.0}, sources={**avx2.sources, "peaks.int8": "measured"}).peak(
            "int8"
        )
        == 5.0
    )
    assert gpu.peak("float16") == 8 * gpu.peak()
    assert load_profile("jetson-nano").peak("int8") == load_profile("jetson-nano").peak()


def test_a_board_that_was_named_is_how_a_profile_is_reached():
    assert load_profile("rpi4").on_board().reach == "board"


def test_a_profile_of_your_own_is_a_file(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text(AVX2.read_text())
    assert load_profile(str(mine)).name == "mine"
    with pytest.raises(ProfileError, match="cannot read the profile"):
        load_profile(str(tmp_path / "none.toml"))


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
        ('isa = "x86_64"', 'isa = ["x86_64"]', "isa must be text"),
        ('linker = "system"', 'linker = "gold"', "linker must be one of system, zig"),
        ("memory_bandwidth = 1.28e10", 'memory_bandwidth = "?"', "leaves memory_bandwidth open"),
        ("[sources]", "gpu = 3\n[sources]", "gpu must be a table"),
        ("[sources]", "[peaks]\nint8 = 0\n[sources]", "peaks.int8 must be"),
    ],
)
def test_a_wrong_data_file_is_refused(tmp_path, old, new, message):
    refuse(AVX2, tmp_path / "mine.toml", old, new, message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('arch = "sm_87"', 'arch = "87"', "gpu.arch must be like sm_87"),
        ('arch = "sm_87"', 'arhc = "sm_87"', "did you mean 'gpu.arch'"),
        ("registers = 65_536", "registers = 0", "gpu.registers must be"),
        ("registers = 65_536\n", "", "must give gpu.registers"),
        ("float16 = ", "float15 = ", "did you mean 'float16'"),
        ("float32 = ", "#", "must give float32"),
        ('"gpu.toolkit" = ', '"gpu.tools" = ', "missing: .'gpu.toolkit'"),
        ("active_w = 15", "active_w = -1", "active_w must be"),
    ],
)
def test_a_wrong_gpu_is_refused(tmp_path, old, new, message):
    refuse(DATA / "jetson-orin-nano.toml", tmp_path / "mine.toml", old, new, message)


def refuse(original, path, old, new, message):
    text = original.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ProfileError, match=message):
        read_profile(path, frozenset())


def test_profiles_load_without_tvm_or_torch():
    code = (
        "import sys, hw_profiles.profile as p; p.load_profile('x86-64-avx2');"
        "assert not {'tvm', 'torch', 'nni'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
