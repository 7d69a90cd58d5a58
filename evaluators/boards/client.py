"""A client of boards that every deadline holds for: what talks to a board is a process that can be killed."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from evaluators.boards.address import BoardAddress
from evaluators.compile.tune.child import Child, ChildDiedError, ChildRaisedError
from understudy import DeviceLost, MeasureError, UnderstudyError

if TYPE_CHECKING:
    from evaluators.boards.remote import Found

CONNECT_S = 15.0
"""Seconds in which a board that is there opens a session; an emulated one takes two."""
SESSION_S = 60.0
"""Seconds after which a session is not used for another call, so that others get their turn."""
_TRACKER_S = 10.0
_PAUSE_S = 0.5


class BoardLostError(UnderstudyError):
    """The board did not answer a call: lost, or crashed or hung by the student."""


class Client:
    """Holds at most one session with a board, in a child process; used by one caller at a time.

    Students use ``threads`` threads of the board's processor, or with ``on_gpu`` its first GPU.
    A board that does not answer a call in ``call_s`` seconds is taken for lost. The board ends a session by itself
    too, so that one whose client was lost, or whose student hangs, comes back.
    """

    def __init__(self, address: BoardAddress, threads: int, call_s: float, on_gpu: bool = False) -> None:
        self._address, self._threads, self._call_s, self._on_gpu = address, threads, call_s, on_gpu
        self._child = Child()
        self._since = self._used = 0.0
        self.board: Found | None = None

    def lease(self, wait_s: float) -> str:
        """The board that is ours from now on; one whose session fails is passed over for the next.

        Raises ``DeviceLost`` when none is free within so many seconds, ``MeasureError`` when it has too few
        threads for the students.
        """
        if self.board is not None and time.monotonic() < self._since + SESSION_S:
            return str(self.board)
        self.release()
        end, failed = time.monotonic() + wait_s, ""
        while (left := end - time.monotonic()) > 0:
            found, problem = self._find(left)
            if found is not None:
                problem = self._connect(found)
            if self.board is not None:
                return str(self.board)
            failed = problem or failed
            time.sleep(min(_PAUSE_S, max(0.0, end - time.monotonic())))
        raise DeviceLost(
            f"no board of {self._address} was free within {wait_s:.0f} s"
            f"{f' ({failed})' if failed else ''}: see `understudy board list {self._address.tracker}`"
        )

    def ask(self, function: Callable[..., Any], *arguments: object) -> Any:
        """What a function of ``remote`` answers on the board that is leased.

        Raises ``BoardLostError``, and ``MeasureError`` with what the board says of the student.
        """
        try:
            return self._child.ask(function, *arguments, limit_s=self._call_s)
        except ChildDiedError as error:
            board, self.board = self.board, None
            how = f"gave no answer within {self._call_s:.0f} s" if error.late else "closed the connection"
            raise BoardLostError(f"board {board} {how}") from error
        except ChildRaisedError as error:
            raise MeasureError(f"board {self.board} cannot run the student ({error})") from error
        finally:
            self._used = time.monotonic()

    def rested(self, seconds: float) -> bool:
        """Whether nothing was asked for so long."""
        return time.monotonic() >= self._used + 0.9 * seconds

    def release(self) -> None:
        """Give the board back; without effect where none is held."""
        from evaluators.boards.remote import disconnect

        if self.board is not None:
            self.board = None
            try:
                self._child.ask(disconnect, limit_s=CONNECT_S)
            except (ChildDiedError, ChildRaisedError):
                self._child.close()

    def close(self) -> None:
        """Give the board back and end the process."""
        self.board = None
        self._child.close()

    def _find(self, wait_s: float) -> tuple[Found | None, str]:
        from evaluators.boards.remote import find

        try:
            return self._child.ask(find, self._address, wait_s, limit_s=wait_s + _TRACKER_S), ""
        except ChildRaisedError as error:
            return None, f"the tracker does not answer: {error}"
        except ChildDiedError:
            return None, "the tracker does not answer"

    def _connect(self, found: Found) -> str:
        """Hold a session with that board, or say why not."""
        from evaluators.boards.remote import connect

        session_s = SESSION_S + self._call_s + CONNECT_S
        try:
            threads = self._child.ask(connect, found, self._threads, session_s, self._on_gpu, limit_s=CONNECT_S)
        except (ChildRaisedError, ChildDiedError) as error:
            with suppress(ChildRaisedError, ChildDiedError):
                self._child.close()
            return f"board {found} opened no session: {error}"
        self.board, self._since = found, time.monotonic()
        if threads < self._threads:
            self.release()
            raise MeasureError(
                f"board {found} gives TVM {threads} threads, but the students use {self._threads}: serve it with "
                "`understudy board serve`, or search with --threads"
            )
        return ""
