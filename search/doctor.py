"""Checks of this computer and installation, each with how to mend what it finds."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from understudy import ProfileError

FREE_BYTES = 2_000_000_000
TRIAL_S = 120
_TRIAL = """
from pathlib import Path
import tempfile, torch
from evaluators.compile.compiler import compile_network
from evaluators.latency.host import HostDevice
from hw_profiles.profile import load_profile
profile = load_profile("x86-host")
network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()).eval()
example = torch.zeros(1, 3, 8, 8)
with tempfile.TemporaryDirectory() as folder:
    compiled = compile_network(network, example, profile, Path(folder) / "trial.so")
    print(HostDevice(profile, None).measure(compiled.library, example.numpy()))
"""


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, whether it is as it should be, what was seen and how to mend it."""

    what: str
    good: bool
    seen: str
    mend: str = ""


def examine() -> Iterator[Finding]:
    """Every check, in the order in which a fault would hinder the next; a slow one comes last."""
    yield _python()
    yield from _packages()
    yield _linker()
    yield _profile()
    yield _disk()
    yield _shared_memory()
    yield _trial()


def _python() -> Finding:
    good = sys.version_info[:2] == (3, 11)
    return Finding("Python", good, platform.python_version(), "" if good else "install Python 3.11")


def _packages() -> Iterator[Finding]:
    """Each requirement of the installed project against what is there."""
    for text in metadata.requires("understudy") or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _package(requirement)


def _package(requirement: Requirement) -> Finding:
    mend = f'pip install -c constraints.txt "{requirement}"'
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return Finding(requirement.name, False, "not installed", mend)
    good = requirement.specifier.contains(version, prereleases=True)
    if good:
        return Finding(requirement.name, True, version)
    why = " (newer ones crash this TVM)" if requirement.name == "apache-tvm-ffi" else ""
    return Finding(requirement.name, False, f"{version}, but must be {requirement.specifier}{why}", mend)


def _linker() -> Finding:
    found = shutil.which("g++") or shutil.which("gcc") or shutil.which("clang")
    return Finding(
        "linker", found is not None, found or "no g++, gcc or clang", "" if found else "apt install g++"
    )


def _profile() -> Finding:
    from hw_profiles.profile import load_profile

    try:
        profile = load_profile("x86-host")
    except ProfileError as error:
        return Finding("processor", False, str(error), "see the message")
    return Finding("processor", True, f"{profile.description}; compiled for {profile.mcpu}")


def _disk() -> Finding:
    return _free("disk", Path.cwd(), "free some space: runs and the cache land here")


def _shared_memory() -> Finding:
    return _free("shared memory", Path("/dev/shm"), "give it more (a container: --shm-size=2g); Ray needs it")


def _free(what: str, path: Path, mend: str) -> Finding:
    if not path.exists():
        return Finding(what, False, f"no {path}", mend)
    free = shutil.disk_usage(path).free
    good = free >= FREE_BYTES
    return Finding(what, good, f"{free / 1e9:.1f} GB free at {path}", "" if good else mend)


def _trial() -> Finding:
    """Compile and run a small network in a process of its own: a wrong version or target kills it."""
    try:
        trial = subprocess.run(
            [sys.executable, "-c", _TRIAL], capture_output=True, text=True, timeout=TRIAL_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding("compile and run", False, f"no end within {TRIAL_S} s", "look for what holds the processor")
    if trial.returncode == 0:
        return Finding("compile and run", True, trial.stdout.strip())
    last = (trial.stderr.strip().splitlines() or ["no message"])[-1]
    return Finding(
        "compile and run",
        False,
        f"exit status {trial.returncode}: {last}",
        "mend what is wrong above; a negative status is a crash: check the versions of apache-tvm and -ffi",
    )
