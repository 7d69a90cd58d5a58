"""Files of a board, fetched in the child process that holds the session: what its kernel says of the device.

TVM's server hands out files by their size, which those of ``/sys`` have and those of ``/proc`` and of the
device tree have not. A function of C, compiled here and loaded there by TVM, copies these first.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from evaluators.boards.remote import connected
from results.bundle.zig import zig

_SOURCE = r"""
typedef struct { const char *file; void *base; const char *name; void *address; } Place;
int dladdr(const void *, Place *);
int snprintf(char *, unsigned long, const char *, ...);
void *fopen(const char *, const char *);
int fclose(void *);
unsigned long fread(void *, unsigned long, unsigned long, void *);
unsigned long fwrite(const void *, unsigned long, unsigned long, void *);

static const char *const files[] = {%s};

/* TVM's calling convention of a packed function; it copies the files beside the library that it is in. */
int __tvm_ffi_copy_files(void *self, const void *arguments, int count, void *result) {
  Place here;
  char path[4096], block[4096];
  if (!dladdr((void *)__tvm_ffi_copy_files, &here)) return 0;
  for (unsigned i = 0; i < sizeof files / sizeof *files; ++i) {
    snprintf(path, sizeof path, "%%s.%%u", here.file, i);
    void *from = fopen(files[i], "rb"), *to = fopen(path, "wb");
    unsigned long size;
    while (from && to && (size = fread(block, 1, sizeof block, from)) > 0) fwrite(block, 1, size, to);
    if (from) fclose(from);
    if (to) fclose(to);
  }
  return 0;
}
"""
"""It names what it needs of the C library itself, so that none need be built for the board."""
_LIBRARY = "copy_files.so"


def instruction_set() -> str:
    """The first part of the triple that the board's TVM was built for, such as ``aarch64``."""
    with connected() as held:
        triple: str = held.session.get_function("target.llvm_get_system_triple")()
        return triple.partition("-")[0]


def fetch(paths: Sequence[str]) -> Mapping[str, bytes]:
    """The contents of files that state their size; those that are not there are left out."""
    with connected() as held:
        found = {}
        for path in paths:
            with suppress(RuntimeError):
                found[path] = bytes(held.session.download(path)).rstrip(b"\0")
        return found


def fetch_unsized(paths: Sequence[str], isa: str) -> Mapping[str, bytes]:
    """The contents of files that do not state their size; those that are not there are empty."""
    with connected() as held, tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        library = Path(folder) / _LIBRARY
        _compile(_SOURCE % ", ".join(f'"{path}"' for path in paths), isa, library)
        held.session.upload(str(library))
        held.session.load_module(_LIBRARY)["copy_files"]()
        return {path: bytes(held.session.download(f"{_LIBRARY}.{i}")) for i, path in enumerate(paths)}


def _compile(source: str, isa: str, library: Path) -> None:
    command = [*zig("cc", isa), "-shared", "-fPIC", "-nostdlib", "-O1", "-x", "c", "-", "-o", str(library)]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"zig cannot compile for {isa}: {done.stderr.strip()[-300:]}")
