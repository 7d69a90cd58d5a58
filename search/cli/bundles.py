"""Bundles on the command line: the bundle's own runner does the work, from the bundle alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from results.bundle.runner import Bundle, BundleProblem, read_manifest
from understudy import BundleError

runtime_option = click.option(
    "--runtime",
    type=click.Choice(["python", "cpp"]),
    default="python",
    help="cpp adds a program for devices without Python, built here  [python]",
)
"""What runs a bundle on its device."""


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest of a bundle for any machine, its files checked; what is wrong with it is a ``BundleError``."""
    try:
        return read_manifest(folder, anywhere=True)
    except BundleProblem as problem:
        raise BundleError(str(problem)) from problem


@contextmanager
def opened(folder: Path) -> Iterator[Bundle]:
    """The bundle in a folder, checked and loaded; what is wrong with it is a ``BundleError``."""
    try:
        yield Bundle(folder)
    except BundleProblem as problem:
        raise BundleError(str(problem)) from problem
