"""The TVM runtime's libraries for a processor: this computer's installed ones, or those of the wheels for another.

Wheels are fetched by pip once and only their runtime is kept, 5 MB in ``understudy/tvm-runtime`` of the user's
cache folder. pip's own settings hold: ``PIP_FIND_LINKS`` and ``PIP_NO_INDEX`` take the wheels from a folder.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath

from understudy import BundleError

PACKAGES = ("apache-tvm", "apache-tvm-ffi")
RUNTIME, CUDA = ("libtvm_runtime.so", "libtvm_ffi.so"), "libtvm_runtime_cuda.so"
_LICENCES = ("LICENSE", "NOTICE")
_TAGS = ("2_17", "2_24", "2_27", "2_28")
"""The manylinux tags that Debian 10 and everything younger can load."""
_TIMEOUT_S = 900


def runtime_files(isa: str) -> dict[str, Path]:
    """The runtime's libraries and licences for ``isa``, by the name that they have in a bundle.

    Raises ``BundleError`` when the wheels can neither be found nor fetched.
    """
    if isa == platform.machine():
        return dict(_installed())
    folder = _kept(isa)
    if not folder.is_dir():
        _fetch(isa, folder)
    return {path.name: path for path in sorted(folder.iterdir())}


def include_folder() -> Path:
    """The installed headers of TVM's foreign function interface."""
    return Path(str(metadata.distribution("apache-tvm-ffi").locate_file("tvm_ffi/include")))


def _installed() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        distribution = metadata.distribution(package)
        for path in distribution.files or ():
            name = _name_in_bundle(package, PurePosixPath(path))
            if name is not None:
                yield name, Path(str(distribution.locate_file(path)))


def _name_in_bundle(package: str, path: PurePosixPath) -> str | None:
    """What a file of a wheel is called in a bundle; None for those that it does not need."""
    if path.parent.name == "lib" and path.name in (*RUNTIME, CUDA):
        return path.name
    if path.parent.name == "licenses" and path.name in _LICENCES:
        return f"{path.name}.{package}"
    return None


def _kept(isa: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    versions = "-".join(metadata.version(package) for package in PACKAGES)
    return cache / "understudy" / "tvm-runtime" / f"{isa}-{versions}"


def _fetch(isa: str, folder: Path) -> None:
    """Fill ``folder`` from the wheels for ``isa``, complete or not at all."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as scratch:
            _download(isa, Path(scratch))
            made = Path(scratch) / "made"
            made.mkdir()
            for wheel in Path(scratch).glob("*.whl"):
                _unpack(wheel, made)
            if not folder.is_dir():  # another process may have been faster
                made.rename(folder)
    except (OSError, zipfile.BadZipFile) as error:
        raise BundleError(f"cannot keep the TVM runtime for {isa} in {folder.parent} ({error})") from error


def _download(isa: str, folder: Path) -> None:
    pins = [f"{package}=={metadata.version(package)}" for package in PACKAGES]
    tags = [f"--platform=manylinux_{tag}_{isa}" for tag in _TAGS]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command = [*pip, "--no-deps", "--only-binary=:all:", "--python-version=3.11", *tags, f"--dest={folder}", *pins]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        said = done.stderr.strip() if done.returncode else ""
    except subprocess.TimeoutExpired:
        said = f"no answer in {_TIMEOUT_S} s"
    if said:
        raise BundleError(
            f"cannot fetch the TVM runtime for {isa} ({said.splitlines()[-1]}): connect to the network once, or "
            f"set PIP_FIND_LINKS to a folder with the {isa} wheels of {' and '.join(pins)}"
        )


def _unpack(wheel: Path, folder: Path) -> None:
    package = "apache-tvm-ffi" if wheel.name.startswith("apache_tvm_ffi") else "apache-tvm"
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.namelist():
            name = _name_in_bundle(package, PurePosixPath(entry))
            if name is not None:
                with archive.open(entry) as source, (folder / name).open("wb") as kept:
                    shutil.copyfileobj(source, kept)
