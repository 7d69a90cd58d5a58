"""What a person sees while a search runs: a live board on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from results.candidate import Candidate
from results.goals import Goals
from results.measurement import metric_of
from results.table import figure_text
from results.units import format_time

Advance = Callable[[int, int], None]
_SECONDS_BETWEEN_LINES = 5.0
_FILE_WIDTH = 140


def make_console() -> Console:
    """The console of the command line: as wide as the terminal, or wide enough for its tables in a file."""
    console = Console()
    return console if console.is_terminal else Console(width=_FILE_WIDTH)


class Display:
    """Progress of each stage of a search, and of its candidates."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def note(self, text: str) -> None:
        """One line that stays."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def stage(self, title: str) -> Iterator[Advance]:
        """A stage with a bar; the yielded function is told how many of how many parts are done."""
        start = time.monotonic()
        if self.console.is_terminal:
            with _bar(self.console) as bar:
                task = bar.add_task(title, total=None)
                yield lambda done, total: bar.update(task, completed=done, total=total)
        else:
            self.note(f"{title} ...")
            yield _occasional_lines(self.note, title)
        self.note(f"{title}: done in {format_time(time.monotonic() - start)}")

    @contextmanager
    def board(self, board: Board) -> Iterator[Callable[[], None]]:
        """The candidates' board; the yielded function shows its present state."""
        if self.console.is_terminal:
            with Live(get_renderable=board.render, console=self.console, refresh_per_second=2) as live:
                yield live.refresh
        else:
            yield lambda: self.note(board.line())


class Board:
    """Counts, front and hypervolume of the candidates so far; those that are ``paused`` count as seen.

    Both are in the order in which they ended or were paused.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        goals: Goals,
        trials: int,
        time_limit: float | None,
        paused: Mapping[int, Candidate] = MappingProxyType({}),
    ) -> None:
        self._candidates, self._paused, self._goals = candidates, paused, goals
        self._trials, self._limit = trials, time_limit
        self._start, self._before = time.monotonic(), self._seen()
        known = [*candidates, *paused.values()]
        self._spent_before = max((candidate.elapsed for candidate in known), default=0.0)
        self._standing: tuple[int, list[tuple[str, str]]] = (-1, [])
        self._next = 0.0
        self._bar = Progress(
            TextColumn("[bold]candidates"),
            BarColumn(None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._task = self._bar.add_task("", total=trials, completed=self._before, left="")

    def line(self) -> str:
        """The latest candidate and the state of the search in one line."""
        figures = ", ".join(f"{heading} {value}" for heading, value in self._figures())
        latest = [*self._candidates[-1:], *list(self._paused.values())[-1:]]
        last = max(latest, key=lambda candidate: candidate.elapsed, default=None)
        return f"{_outcome(last)} | {figures}" if last else figures

    def render(self) -> Group:
        """The state of the search as a bar, a row of figures and the latest candidates."""
        self._bar.update(self._task, completed=self._seen(), left=self._left())
        figures = Table.grid(padding=(0, 3))
        figures.add_row(*(f"[dim]{heading}[/] [bold]{value}[/]" for heading, value in self._figures()))
        latest = Table.grid()
        for candidate in self._candidates[-4:]:
            latest.add_row(Text(_outcome(candidate), style="dim"))
        return Group(self._bar, figures, latest)

    def _figures(self) -> list[tuple[str, str]]:
        """The figures of the search; all but the time left change only when a candidate ends.

        They are worked out no more often than takes a twentieth of the time: a front of thousands takes long.
        """
        now = time.monotonic()
        if self._standing[0] != len(self._candidates) and now >= self._next:
            self._standing = (len(self._candidates), self._counted())
            self._next = now + 20 * (time.monotonic() - now)
        paused = [("paused", str(len(self._paused)))] if self._paused else []
        return [*self._standing[1], *paused, ("left", self._left())]

    def _counted(self) -> list[tuple[str, str]]:
        states = Counter(candidate.state for candidate in self._candidates)
        front = self._goals.front(self._candidates)
        best = max(front, key=lambda candidate: candidate.measurements["accuracy"].value, default=None)
        volume = self._goals.hypervolume(self._candidates)
        return [
            *((state, str(states[state])) for state in ("done", "infeasible", "failed")),
            *((state, str(states[state])) for state in ("pruned",) if states[state]),
            ("front", str(len(front))),
            ("hypervolume", f"{volume:.4g}"),
            ("best within budget", str(best.measurements["accuracy"]) if best else "-"),
        ]

    def _left(self) -> str:
        seen, spent = self._seen(), time.monotonic() - self._start
        new = seen - self._before
        guess = spent / new * (self._trials - seen) if new else None
        limit = None if self._limit is None else max(0.0, self._limit - self._spent_before - spent)
        known = [seconds for seconds in (guess, limit) if seconds is not None]
        return f"about {format_time(min(known))}" if known and min(known) > 0 else "-"

    def _seen(self) -> int:
        return len(self._candidates) + len(self._paused)


def _outcome(candidate: Candidate) -> str:
    figures = [
        figure_text(figure) if figure.unit == "likelihood" else f"{metric_of(name).heading} {figure_text(figure)}"
        for name, figure in candidate.measurements.items()
        if name.partition("@")[0] in ("accuracy", "latency", "size")
    ]
    reason = [candidate.reason] if candidate.reason else figures
    taught = f" at {candidate.fidelity:.0%} of its teaching" if candidate.state == "paused" else ""
    return f"#{candidate.number} {candidate.state}{taught}: {', '.join(reason)}"


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _occasional_lines(say: Callable[[str], None], title: str) -> Advance:
    last = time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            say(f"{title}: {done} of {total}")

    return advance
