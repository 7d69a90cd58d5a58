"""Imports go one way, and each heavy library is imported in one place only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("search", "evaluators", "spaces", "hw_profiles", "results")
MAY_IMPORT = {
    "search": {"search", "evaluators", "spaces", "hw_profiles", "results", "understudy"},
    "evaluators": {"evaluators", "spaces", "hw_profiles", "results", "understudy"},
    "spaces": {"spaces", "understudy"},
    "hw_profiles": {"hw_profiles", "understudy"},
    "results": {"results", "understudy"},
    "understudy": set(),
}
HOMES = {
    "ray": ("search/",),
    "optuna": ("search/sampler.py", "search/samplers/understudy.py", "search/proposer.py"),
    "nni": ("spaces/nni_adapter.py",),
    "tvm": (
        "evaluators/compile/",
        "evaluators/boards/remote.py",
        "evaluators/boards/serve.py",
        "results/bundle/runner.py",
    ),
}


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


RUNS = ROOT / "results" / "runs"


def sources() -> list[Path]:
    """Those of the packages, not those of bundles that runs have left."""
    found = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    return [ROOT / "understudy.py", *(file for file in found if not file.is_relative_to(RUNS))]


@pytest.mark.parametrize("file", sources(), ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_one_way(file):
    place = file.relative_to(ROOT).as_posix()
    package = place.split("/")[0].removesuffix(".py")
    for name in imports(file):
        top = name.split(".")[0]
        if top in MAY_IMPORT:
            assert top in MAY_IMPORT[package], f"{place} imports {name}"
        if top in HOMES:
            assert place.startswith(HOMES[top]), f"{place} imports {name}"


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("search.cli.main", "torch ray nni optuna tvm pandas plotly"),
        ("results.store", "torch ray nni optuna tvm pandas plotly"),
        ("search.cli.predict", "torch ray nni optuna"),
        ("search.config", "torch ray nni optuna tvm"),
    ],
)
def test_light_modules_stay_light(module, unwanted):
    program = f"import sys, {module}; print([name for name in {unwanted.split()!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
