"""Runs on the emulated machine: every case of a folder, its largest difference from what torch gave, as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    from runner import CompiledStudent

    found = {}
    for library in sorted(Path(sys.argv[2]).glob("*.so")):
        case = np.load(library.with_suffix(".npz"))
        student = CompiledStudent(library, 2)
        given = student(*(case[f"in{index}"] for index in range(len(case.files) - 1)))
        found[library.stem] = float(np.abs(given - case["out"]).max() / (np.abs(case["out"]).max() or 1.0))
    print(json.dumps(found))
