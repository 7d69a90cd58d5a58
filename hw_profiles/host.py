"""The facts of the computer that this runs on, each with where it was read."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Collection
from pathlib import Path

from hw_profiles.cgroup import cpu_quota, memory_limit
from hw_profiles.cpu_names import features_of, llvm_cpu, vector_pipes, vector_width
from understudy import ProfileError

HOST = "x86-host"
_CPUINFO = "/proc/cpuinfo"
_ASSUMED = "assumed, the system does not say: the smallest of x86-64 processors with AVX2"
_BANDWIDTH = 19.2e9
_SMALLEST_CACHES = {1: 32 * 1024, 2: 256 * 1024, 3: 0}
_SIZE_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


def host_facts(
    root: Path = Path("/"),
    *,
    system: str | None = None,
    machine: str | None = None,
    cpus: Collection[int] | None = None,
) -> dict[str, object]:
    """Every field of the profile of a Linux x86-64 computer, read under ``root`` (sizes in bytes).

    ``system``, ``machine`` and ``cpus`` (the processors that the process may use) are this computer's unless
    given. Raises ``ProfileError`` on another system or processor.
    """
    _require_linux_x86(system or platform.system(), machine or platform.machine())
    info = _cpuinfo(root)
    allowed = sorted(os.sched_getaffinity(0) if cpus is None else cpus)
    mcpu = llvm_cpu(info["vendor_id"], info["flags"].split())
    features = features_of(mcpu)
    bits, registers = vector_width(features)
    cores, cores_source = _cores(root, allowed)
    caches, caches_source = read_caches(root, allowed[0])
    memory, memory_source = read_memory(root)
    clock, clock_source = read_clock(root, allowed[0], info)
    mcpu_source = f"the flags in {_CPUINFO}"
    return {
        "name": HOST,
        "description": f"this computer: {info.get('model name', 'x86-64 processor')}, {cores} cores",
        "isa": "x86_64",
        "mcpu": mcpu,
        "features": tuple(sorted(features)),
        "vector_bits": bits,
        "vector_registers": registers,
        "vector_pipes": vector_pipes(mcpu),
        "fma": "fma" in features,
        "cores": cores,
        "threads": cores,
        "l1d_bytes": caches[1],
        "l2_bytes": caches[2],
        "l3_bytes": caches[3],
        "memory_bytes": memory,
        "memory_bandwidth": _BANDWIDTH,
        "clock_ghz": clock,
        "linker": "system",
        "verified": "this computer: students are measured on it",
        "reach": "host",
        "sources": {
            "description": _CPUINFO,
            **dict.fromkeys(("isa", "reach"), "platform.machine()"),
            **dict.fromkeys(("mcpu", "features", "vector_bits", "vector_registers", "fma"), mcpu_source),
            "vector_pipes": f"the makers' optimisation guides: what {mcpu} has",
            **dict.fromkeys(("cores", "threads"), cores_source),
            **dict.fromkeys(("l1d_bytes", "l2_bytes", "l3_bytes"), caches_source),
            "memory_bytes": memory_source,
            "memory_bandwidth": "assumed: one channel of DDR4-2400",
            "clock_ghz": clock_source,
        },
    }


def host_flags(root: Path = Path("/")) -> frozenset[str]:
    """The processor flags of this computer (names of /proc/cpuinfo), none where there is no such file."""
    path = root / _CPUINFO.lstrip("/")
    return frozenset(_cpuinfo(root).get("flags", "").split()) if path.is_file() else frozenset()


def usable_cores(root: Path = Path("/")) -> int:
    """Physical cores of this computer that the process may use."""
    return _cores(root, sorted(os.sched_getaffinity(0)))[0]


def _require_linux_x86(system: str, machine: str) -> None:
    if system != "Linux":
        raise ProfileError(
            f"the profile {HOST} is read from Linux, but this computer runs {system}: "
            "run Understudy on x86-64 Linux (a container or virtual machine will do)"
        )
    if machine.lower() not in ("x86_64", "amd64"):
        raise ProfileError(
            f"the profile {HOST} describes an x86-64 processor, but this computer is {machine}: "
            "run Understudy on an x86-64 computer"
        )


def _cpuinfo(root: Path) -> dict[str, str]:
    """The first processor's entries of /proc/cpuinfo."""
    path = root / _CPUINFO.lstrip("/")
    try:
        first = path.read_text().split("\n\n", 1)[0]
    except OSError as error:
        raise ProfileError(f"cannot read {path} ({error.strerror}): mount /proc, then try again") from error
    pairs = (line.partition(":") for line in first.splitlines())
    info = {name.strip(): value.strip() for name, _, value in pairs}
    if "flags" not in info or "vendor_id" not in info:
        raise ProfileError(f"{path} names no vendor_id and flags: run Understudy on an x86-64 computer")
    return info


def _cores(root: Path, cpus: list[int]) -> tuple[int, str]:
    """Physical cores among the allowed processors, at most what the container's share of time is worth."""
    siblings = {read_text(cpu_folder(root, cpu) / "topology/thread_siblings_list") or str(cpu) for cpu in cpus}
    quota = cpu_quota(root)
    if quota is not None and quota < len(siblings):
        return max(1, int(quota)), f"the container's share of processor time ({quota:g} processors)"
    return len(siblings), "the processors this process may use, /sys/devices/system/cpu/cpu*/topology"


def read_caches(root: Path, cpu: int) -> tuple[dict[int, int], str]:
    """Data cache sizes in bytes by level, as the given processor sees them."""
    found: dict[int, int] = {}
    for folder in sorted((cpu_folder(root, cpu) / "cache").glob("index*")):
        size = re.fullmatch(r"(\d+)([KMG]?)", read_text(folder / "size"))
        level = read_text(folder / "level")
        if size and level.isdigit() and read_text(folder / "type") in ("Data", "Unified"):
            found[int(level)] = int(size[1]) * _SIZE_UNITS[size[2]]
    source = f"/sys/devices/system/cpu/cpu{cpu}/cache"
    if not {1, 2} <= found.keys():
        source = _ASSUMED
    return {**_SMALLEST_CACHES, **found}, source


def read_memory(root: Path) -> tuple[int, str]:
    """Bytes of memory of the computer, or of the container if that is less."""
    match = re.search(r"MemTotal:\s*(\d+) kB", read_text(root / "proc/meminfo"))
    if match is None:
        raise ProfileError(f"cannot read {root / 'proc/meminfo'}: mount /proc, then try again")
    total, limit = int(match[1]) * 1024, memory_limit(root)
    if limit is not None and limit < total:
        return limit, "the container's memory limit"
    return total, "/proc/meminfo"


def read_clock(root: Path, cpu: int, info: dict[str, str]) -> tuple[float, str]:
    """Clock in GHz: the highest the processor may reach, or what it says it runs at."""
    highest = read_text(cpu_folder(root, cpu) / "cpufreq/cpuinfo_max_freq")
    if highest.isdigit():
        return int(highest) / 1e6, f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq"
    if "cpu MHz" in info:
        return float(info["cpu MHz"]) / 1000, _CPUINFO
    return 2.0, _ASSUMED


def cpu_folder(root: Path, cpu: int) -> Path:
    """The folder of a processor's facts."""
    return root / f"sys/devices/system/cpu/cpu{cpu}"


def read_text(path: Path) -> str:
    """What a file of the system says; nothing where it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
