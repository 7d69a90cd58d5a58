"""What a bundle that can be updated may hold, read before anything of it is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.updatable import CONFIG, ORIGIN, WEIGHTS, run_of
from understudy import BundleError

FILES = dict.fromkeys((CONFIG, ORIGIN, WEIGHTS), "")


@pytest.mark.parametrize(
    "named", ["space: stolen.py:Space", "data: stolen.py:task", "teacher: [stolen.py:teacher]"]
)
def test_code_that_a_bundle_names_is_not_run(tmp_path: Path, named: str) -> None:
    (tmp_path / "stolen.py").write_text("raise SystemExit('it ran')")
    (tmp_path / CONFIG).write_text(f"{named}\n")
    with pytest.raises(BundleError, match=r"stolen\.py:\w+: code is not run from a bundle"):
        run_of(tmp_path, FILES, tmp_path / "runs")


def test_a_damaged_account_of_where_a_bundle_came_from_is_said(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text("data: digits\n")
    (tmp_path / ORIGIN).write_text('{"facts": {}}')
    with pytest.raises(BundleError, match=r"origin\.json is damaged .*deploy the student again"):
        run_of(tmp_path, FILES, tmp_path / "runs")
