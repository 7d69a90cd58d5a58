"""The versions that stand behind a run's figures."""

from __future__ import annotations

from importlib import metadata

from understudy import __version__

PACKAGES = (
    "torch",
    "apache-tvm",
    "apache-tvm-ffi",
    "nni",
    "pytorch-lightning",
    "ray",
    "optuna",
    "onnx",
    "onnxruntime",
    "pandas",
    "plotly",
    "scikit-learn",
    "transformers",
)


def installed_versions() -> dict[str, str]:
    """Understudy's version and those of the packages under it; a missing one is left out."""
    found = {"understudy": __version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
