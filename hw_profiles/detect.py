"""A profile of one's own: what a Linux device says of itself, and places for what it does not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hw_profiles.cpu_names import arm_cpu, features_of, vector_pipes
from hw_profiles.data_file import UNKNOWN
from hw_profiles.host import cpu_folder, host_facts, read_caches, read_clock, read_memory, read_text
from understudy import ProfileError

FILES = (
    *("proc/cpuinfo", "proc/meminfo", "proc/device-tree/model"),
    "sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list",
    "sys/devices/system/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq",
    *(
        f"sys/devices/system/cpu/cpu{{cpu}}/cache/index{index}/{name}"
        for index in range(4)
        for name in ("level", "type", "size", "shared_cpu_list")
    ),
)
"""The files of a device that are read, for each of its processors: copied under a folder, they stand for it."""

_DERIVED = ("name", "reach", "sources")
_ASK = "not detected: write the figure, and here where it is from"
_MANUAL = "Arm Architecture Reference Manual for A-profile, Advanced SIMD"


def detected_facts(root: Path = Path("/")) -> dict[str, Any]:
    """The facts of the device whose files lie under ``root`` as a profile's file has them, ``?`` where silent.

    Raises ``ProfileError`` for a device that is neither x86-64 nor 64-bit ARM on Linux.
    """
    flags = re.search(r"^(flags|Features)\s*:", _cpuinfo(root), re.MULTILINE)
    if flags is None:
        raise ProfileError(
            f"{root / 'proc/cpuinfo'} is of no x86-64 or 64-bit ARM Linux: there is no profile for it"
        )
    facts = _x86_facts(root) if flags[1] == "flags" else _arm_facts(root)
    facts["verified"] = "never run on the device"
    facts["memory_bandwidth"] = UNKNOWN
    facts["sources"] = {**facts["sources"], "memory_bandwidth": _ASK}
    return {name: value for name, value in facts.items() if name not in ("name", "reach")}


def as_toml(facts: Mapping[str, Any]) -> str:
    """The text of a profile's file, with what is still asked for on top."""
    open_keys = [name for name, value in facts.items() if value == UNKNOWN]
    lines = ["# Made by `understudy profiles new`."]
    lines += [f"# To fill in: {name}" for name in open_keys]
    lines += ["# May be added: idle_w and active_w (watts of the whole device), with their sources.", ""]
    lines += [f"{name} = {_value(value)}" for name, value in facts.items() if name not in _DERIVED]
    lines += ["", "[sources]", *(f"{name} = {_value(text)}" for name, text in facts["sources"].items())]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str):
        plain = "".join(letter if letter.isprintable() else " " for letter in value)
        return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{value:_}" if isinstance(value, int) else repr(value)


def _x86_facts(root: Path) -> dict[str, Any]:
    cpus = range(_cpuinfo(root).count("processor\t"))
    facts = host_facts(root, system="Linux", machine="x86_64", cpus=cpus)
    facts["description"] = str(facts["description"]).removeprefix("this computer: ")
    return facts


def _arm_facts(root: Path) -> dict[str, Any]:
    """Of the fastest of its cores: threads on slower ones would be waited for."""
    cores = _arm_cores(root)
    clocks = {cpu: read_clock(root, cpu, core) for cpu, core in cores.items()}
    fastest = max(clock for clock, _ in clocks.values())
    chosen = [cpu for cpu in cores if clocks[cpu][0] == fastest]
    core = cores[chosen[0]]
    flags = frozenset.intersection(*(frozenset(each.get("Features", "").split()) for each in cores.values()))
    implementer, part = (int(core.get(name, "0"), 16) for name in ("CPU implementer", "CPU part"))
    mcpu = arm_cpu(implementer, part, flags)
    if mcpu is None:
        raise ProfileError(f"{root / 'proc/cpuinfo'} names no vector instructions (asimd): students need them")
    caches, caches_source = read_caches(root, chosen[0])
    memory, memory_source = read_memory(root)
    model = read_text(root / "proc/device-tree/model").strip("\0") or f"device of {mcpu}"
    return {
        "description": f"{model}, {len(chosen)} cores",
        "isa": "aarch64",
        "mcpu": mcpu,
        "features": tuple(sorted(features_of(mcpu))),
        "vector_bits": 128,
        "vector_registers": 32,
        "vector_pipes": vector_pipes(mcpu),
        "fma": True,
        "cores": len(chosen),
        "threads": len(chosen),
        "l1d_bytes": caches[1],
        "l2_bytes": caches[2] // _sharers(root, chosen[0], 2),
        "l3_bytes": caches[3],
        "memory_bytes": memory,
        "clock_ghz": fastest,
        "linker": "zig",
        "sources": {
            "description": "/proc/device-tree/model and /proc/cpuinfo",
            "mcpu": f"CPU implementer {implementer:#x}, part {part:#x} in /proc/cpuinfo",
            "features": "Features in /proc/cpuinfo, those of all its cores",
            **dict.fromkeys(("vector_bits", "vector_registers", "fma"), _MANUAL),
            "vector_pipes": f"Arm's software optimisation guides: what {mcpu} has",
            **dict.fromkeys(("cores", "threads"), "the cores of the highest clock"),
            **dict.fromkeys(("l1d_bytes", "l2_bytes", "l3_bytes"), caches_source),
            "memory_bytes": memory_source,
            "clock_ghz": clocks[chosen[0]][1],
        },
    }


def _arm_cores(root: Path) -> dict[int, dict[str, str]]:
    """The entries of each processor in /proc/cpuinfo."""
    cores = {}
    for block in _cpuinfo(root).split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines())
        core = {name.strip(): value.strip() for name, _, value in pairs}
        if core.get("processor", "").isdigit():
            cores[int(core["processor"])] = core
    return cores


def _sharers(root: Path, cpu: int, level: int) -> int:
    """How many processors share the cache of that level, in a list like ``0-3,8``."""
    for folder in (cpu_folder(root, cpu) / "cache").glob("index*"):
        if read_text(folder / "level") == str(level):
            spans = [part.split("-") for part in read_text(folder / "shared_cpu_list").split(",") if part]
            return max(1, sum(int(span[-1]) - int(span[0]) + 1 for span in spans))
    return 1


def _cpuinfo(root: Path) -> str:
    return read_text(root / "proc/cpuinfo")
