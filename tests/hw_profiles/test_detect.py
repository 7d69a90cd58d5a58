from __future__ import annotations

from pathlib import Path

import pytest

from hw_profiles.detect import FILES, as_toml, detected_facts
from hw_profiles.profile import load_profile, read_profile
from understudy import ProfileError

V8_2 = "fp asimd aes crc32 atomics fphp asimdhp asimdrdm lrcpc asimddp"


def phone(root: Path, flags: str = V8_2, part: str = "0xd41") -> Path:
    """Two slow and two fast cores, a second cache for each pair."""
    blocks = []
    for cpu in range(4):
        model = part if cpu > 1 else "0xd05"
        blocks.append(f"processor\t: {cpu}\nFeatures\t: {flags}\nCPU implementer\t: 0x41\nCPU part\t: {model}\n")
        base = f"sys/devices/system/cpu/cpu{cpu}"
        write(root, f"{base}/cpufreq/cpuinfo_max_freq", "2400000" if cpu > 1 else "1800000")
        pair = "2-3" if cpu > 1 else "0-1"
        for index, (level, kind, size, shared) in enumerate(
            [(1, "Data", "64K", f"{cpu}"), (2, "Unified", "512K", pair), (3, "Unified", "4096K", "0-3")]
        ):
            for key, value in (("level", level), ("type", kind), ("size", size), ("shared_cpu_list", shared)):
                write(root, f"{base}/cache/index{index}/{key}", f"{value}\n")
    write(root, "proc/cpuinfo", "\n".join(blocks) + "\nHardware\t: a phone\n")
    write(root, "proc/meminfo", "MemTotal:        4000000 kB\n")
    write(root, "proc/device-tree/model", 'Some "phone" \\ 5\0')
    return root


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_phone_is_its_fast_cores(tmp_path):
    path = tmp_path / "phone.toml"
    path.write_text(as_toml(detected_facts(phone(tmp_path))))
    with pytest.raises(ProfileError, match="leaves memory_bandwidth open"):
        read_profile(path, frozenset())
    path.write_text(path.read_text().replace('memory_bandwidth = "?"', "memory_bandwidth = 34e9"))
    profile = read_profile(path, frozenset())
    assert (profile.mcpu, profile.cores, profile.clock_ghz) == ("cortex-a78", 2, 2.4)
    assert (profile.l1d_bytes, profile.l2_bytes, profile.l3_bytes) == (65536, 262144, 4194304)
    assert profile.description == 'Some "phone" \\ 5, 2 cores'
    assert profile.linker == "zig"


def test_an_unknown_core_is_taken_for_one_with_no_more_instructions(tmp_path):
    assert detected_facts(phone(tmp_path, part="0xd99"))["mcpu"] == "cortex-a55"
    assert detected_facts(phone(tmp_path, "fp asimd crc32"))["mcpu"] == "cortex-a57"
    with pytest.raises(ProfileError, match="no vector instructions"):
        detected_facts(phone(tmp_path, "fp"))


def test_this_computer_is_detected_from_its_files():
    facts, host = detected_facts(), load_profile("x86-host")
    assert (facts["mcpu"], facts["l2_bytes"]) == (host.mcpu, host.l2_bytes)
    assert "proc/cpuinfo" in FILES


def test_another_device_is_refused(tmp_path):
    with pytest.raises(ProfileError, match="no x86-64 or 64-bit ARM"):
        detected_facts(tmp_path)
