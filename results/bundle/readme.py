"""What a bundle says to the one who unpacks it: ``README.md``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from results.bundle.program import Machine

Takes = Literal["images", "vectors", "recordings", "texts", "language", "questions", "masks", "boxes", "arrays"]


def make_readme(title: str, takes: Takes, machine: Machine | None) -> str:
    """The text for a bundle by what it takes, with a program for a machine or without."""
    parts = [_PYTHON.format(title=title, use=_USES[takes])]
    if machine is not None:
        parts.append(_PROGRAM.format(use=_PROGRAM_IMAGE if takes == "images" else _PROGRAM_ARRAYS))
    return "\n".join([*parts, _END])


_PYTHON = """# {title}

With Python 3.10 or newer (Raspberry Pi OS 12 has 3.11; on Ubuntu, `apt install python3-venv` first):

    python3 -m venv .venv
    .venv/bin/pip install -r requirements.txt     # pillow is needed for image files only
{use}
    .venv/bin/python run.py bench                 # its latency here, beside the figure of manifest.json
"""
_IMAGE = "    .venv/bin/python run.py predict photo.jpg     # its three likeliest labels"
_ARRAYS = "    .venv/bin/python run.py predict in.npz --to out.npz   # its outputs; .npz files hold arrays by name"
_VECTORS = "    .venv/bin/python run.py predict rows.npy      # three labels of each vector; or a .csv of numbers"
_TEXTS = (
    '    .venv/bin/python run.py predict "a sentence"   # its three likeliest labels; or a .txt of a text a line'
)
_LANGUAGE = (
    '    .venv/bin/python run.py predict "Once upon"   # goes on with it; --tokens 200 --temperature 0.5 --seed 1'
)
_QUESTIONS = '    .venv/bin/python run.py predict photo.jpg "how many?"   # the three likeliest answers'
_RECORDINGS = "    .venv/bin/python run.py predict word.wav      # the three likeliest words"
_MASKS = "    .venv/bin/python run.py predict photo.jpg --to out/   # its mask, and the picture in its colours"
_BOXES = "    .venv/bin/python run.py predict photo.jpg --to out/   # its boxes as JSON, and drawn on the picture"
_USES: Mapping[Takes, str] = {
    "images": _IMAGE,
    "vectors": _VECTORS,
    "recordings": _RECORDINGS,
    "texts": _TEXTS,
    "language": _LANGUAGE,
    "questions": _QUESTIONS,
    "masks": _MASKS,
    "boxes": _BOXES,
    "arrays": _ARRAYS,
}
_PROGRAM = """Without Python, with nothing but a C++ runtime (`libstdc++6`, part of every such system):

{use}
    ./run bench --repeat 15

`run` is built from `run.cc` by `build.sh`; `libtvm_runtime.so` and `libtvm_ffi.so` are Apache TVM's (Apache-2.0,
see the LICENSE and NOTICE files).
"""
_PROGRAM_IMAGE = (
    "    ./run predict photo.ppm     # binary .ppm or .pgm, or .npy: `convert photo.jpg photo.ppm` makes one"
)
_PROGRAM_ARRAYS = "    ./run predict in.npy --to .     # one file for each input: .npy, or its bare bytes"
_END = """`manifest.json` says what the network takes and gives, what was measured and how, and what processor it
needs.
"""
