"""The report of a run: one HTML file that needs no network, and its front as PNG and SVG."""

from __future__ import annotations

from pathlib import Path

from results.goals import target_names
from results.store import RunStore
from results.view import read_view


def write_report(store: RunStore) -> Path:
    """Write ``report.html``, ``front.png`` and ``front.svg`` into the run's folder; returns the first.

    Of a run with several targets, each has its own (``report-TARGET.html``), which lead to each other; the first
    target's is returned. Works at any moment of a run, with any number of candidates in any state. Raises
    ``RunError`` when the record cannot be read or the files not be written.
    """
    from results.report.page import report_html
    from results.report.sections import report_name
    from results.report.static_plot import write_front

    targets = target_names(store.facts())
    for target in targets:
        view = read_view(store, target)
        store.write_text(report_name(target), report_html(view, store.path))
        write_front(view, store.path)
    return store.path / report_name(targets[0])
