from __future__ import annotations

from pathlib import Path

import pytest

from hw_profiles.cgroup import cpu_quota, memory_limit
from hw_profiles.cpu_names import FAMILIES, LEVELS, features_of, llvm_cpu, mcpu_names
from hw_profiles.host import host_facts, host_flags
from hw_profiles.profile import Profile
from understudy import ProfileError

# LLVM's names of what /proc/cpuinfo calls otherwise.
TO_PROC = {
    "avx512bf16": "avx512_bf16",
    "avx512bitalg": "avx512_bitalg",
    "avx512fp16": "avx512_fp16",
    "avx512vbmi2": "avx512_vbmi2",
    "avx512vnni": "avx512_vnni",
    "avx512vp2intersect": "avx512_vp2intersect",
    "avx512vpopcntdq": "avx512_vpopcntdq",
    "amx-bf16": "amx_bf16",
    "amx-int8": "amx_int8",
    "amx-tile": "amx_tile",
    "avxvnni": "avx_vnni",
    "bmi": "bmi1",
    "crc32": "sse4_2",
    "lzcnt": "abm",
    "pclmul": "pclmulqdq",
    "prfchw": "3dnowprefetch",
    "rdrnd": "rdrand",
    "sahf": "lahf_lm",
    "sha": "sha_ni",
    "sse3": "pni",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
}
INTRINSICS_ONLY = frozenset(
    [
        "64bit",
        "64bit-mode",
        "clzero",
        "enqcmd",
        "ermsb",
        "fsgsbase",
        "fsrm",
        "hreset",
        "invpcid",
        "kl",
        "mwaitx",
        "nopl",
        "pconfig",
        "pku",
        "prefetchi",
        "ptwrite",
        "rdpru",
        "shstk",
        "tsxldtrk",
        "uintr",
        "vzeroupper",
        "wbnoinvd",
        "widekl",
        "x87",
    ]
)
TUNING = ("allow-", "branchfusion", "false-deps", "fast", "idivq", "macrofusion")
TUNING += ("no-bypass", "prefer-", "sbb-", "slow-", "tuning-")


@pytest.mark.parametrize("mcpu", mcpu_names("x86_64"))
def test_no_name_lets_llvm_use_an_unlisted_feature(mcpu):
    from tvm.target import Target, codegen

    given = set(codegen.llvm_get_cpu_features(Target({"kind": "llvm", "mcpu": mcpu})))
    used = {TO_PROC.get(f, f) for f in given - INTRINSICS_ONLY if not f.startswith(TUNING)}
    assert used <= features_of(mcpu)


def test_each_name_is_found_from_its_own_flags_and_lost_with_any_of_them():
    for vendor, family in FAMILIES.items():
        for name, flags in {**family, **LEVELS}.items():
            found = llvm_cpu(vendor, flags)
            assert features_of(found) == flags
            for hidden in flags - LEVELS["x86-64"]:
                assert hidden not in features_of(llvm_cpu(vendor, flags - {hidden})), name


def test_an_unknown_maker_gets_a_level():
    assert llvm_cpu("HygonGenuine", features_of("znver1")) == "x86-64-v3"


def test_this_computer_lacks_no_feature_of_its_profile():
    assert set(host_facts()["features"]) <= host_flags()


def machine(root: Path, *, flags: str, cores: int = 4, siblings: int = 2) -> Path:
    """A recorded Linux computer: the files that are read, laid out under ``root``."""
    info = f"processor\t: 0\nvendor_id\t: GenuineIntel\ncpu MHz\t: 2100.5\nflags\t\t: {flags}\n"
    write(root, "proc/cpuinfo", info + "\n" + "processor\t: 1\n")
    write(root, "proc/meminfo", "MemTotal:        8000000 kB\n")
    for cpu in range(cores * siblings):
        base = f"sys/devices/system/cpu/cpu{cpu}"
        first = cpu - cpu % siblings
        write(root, f"{base}/topology/thread_siblings_list", f"{first}-{first + siblings - 1}\n")
        caches = [(1, "Data", "48K"), (1, "Instruction", "32K"), (2, "Unified", "2048K"), (3, "Unified", "105M")]
        for index, (level, kind, size) in enumerate(caches):
            for key, value in (("level", level), ("type", kind), ("size", size)):
                write(root, f"{base}/cache/index{index}/{key}", f"{value}\n")
    return root


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_server_is_read(tmp_path):
    flags = " ".join(features_of("icelake-server"))
    profile = Profile(**host_facts(machine(tmp_path, flags=flags), cpus=range(8)))
    assert (profile.mcpu, profile.vector_bits, profile.vector_registers) == ("icelake-server", 512, 32)
    assert (profile.cores, profile.threads) == (4, 4)
    assert (profile.l1d_bytes, profile.l2_bytes, profile.l3_bytes) == (48 * 1024, 2048 * 1024, 105 * 1024**2)
    assert profile.memory_bytes == 8000000 * 1024
    assert profile.clock_ghz == pytest.approx(2.1005)


def test_affinity_and_container_limits_count(tmp_path):
    root = machine(tmp_path, flags=" ".join(features_of("haswell")))
    assert host_facts(root, cpus=[0, 1, 2])["cores"] == 2
    write(root, "proc/self/cgroup", "0::/work/job\n")
    write(root, "sys/fs/cgroup/work/cpu.max", "150000 100000\n")
    write(root, "sys/fs/cgroup/work/job/cpu.max", "max 100000\n")
    write(root, "sys/fs/cgroup/memory.max", "2000000000\n")
    facts = host_facts(root, cpus=range(8))
    assert (facts["cores"], facts["memory_bytes"]) == (1, 2000000000)
    assert "container" in facts["sources"]["cores"]


def test_limits_of_control_groups_version_1(tmp_path):
    write(tmp_path, "proc/self/cgroup", "4:memory:/a\n1:cpu,cpuacct:/b\n0::/\n")
    write(tmp_path, "sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000\n")
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    assert cpu_quota(tmp_path) is None
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n")
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert cpu_quota(tmp_path) == 0.5
    assert memory_limit(tmp_path) == 1000


def test_unreadable_caches_are_assumed_and_said_to_be(tmp_path):
    facts = host_facts(machine(tmp_path, flags=" ".join(features_of("haswell"))), cpus=[9])
    assert facts["l1d_bytes"] == 32 * 1024
    assert "assumed" in facts["sources"]["l1d_bytes"]


@pytest.mark.parametrize(
    ("system", "processor", "message"),
    [
        ("Darwin", "x86_64", "runs Darwin: run Understudy"),
        ("Linux", "aarch64", "is aarch64: run Understudy"),
    ],
)
def test_other_computers_are_refused(system, processor, message):
    with pytest.raises(ProfileError, match=message):
        host_facts(system=system, machine=processor)


def test_missing_proc_is_said(tmp_path):
    with pytest.raises(ProfileError, match="mount /proc"):
        host_facts(tmp_path)
