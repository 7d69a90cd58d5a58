"""The report of a run: one HTML file that needs no network, and its front as PNG and SVG."""

from __future__ import annotations

from pathlib import Path

from results.store import RunStore
from results.view import read_view


def write_report(store: RunStore) -> Path:
    """Write ``report.html``, ``front.png`` and ``front.svg`` into the run's folder; returns the first.

    Works at any moment of a run, with any number of candidates in any state. Raises ``RunError`` when the
    record cannot be read or the files not be written.
    """
    from results.report.page import report_html
    from results.report.static_plot import write_front

    view = read_view(store)
    store.write_text("report.html", report_html(view, store.path))
    write_front(view, store.path)
    return store.path / "report.html"
