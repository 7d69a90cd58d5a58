"""A process of our own that does what may crash or hang, and can be killed.

It is started as a module of its own rather than forked, so that it holds none of the parent's threads, locks or
memory, and it imports nothing of the program that started it, nor torch.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from evaluators.without_torch import keep_torch_out
from understudy import UnderstudyError

_GRACE_S = 2.0
START_S = 30.0
"""A new process imports TVM before it can answer."""


class ChildDiedError(UnderstudyError):
    """The child gave no answer: it crashed, or was killed for being late."""

    def __init__(self, late: bool) -> None:
        super().__init__("a child process was too late" if late else "a child process crashed")
        self.late = late


class ChildRaisedError(UnderstudyError):
    """What a function called in a child raised, as text: the error itself may not survive the way back."""


class Child:
    """Calls functions of importable modules in another process, one at a time.

    The process is started by the first call and again by the first call after it died. It ends with its parent,
    also when that is killed: an idle child sees its socket close, a busy one has an alarm set.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._ready = False

    def start(self) -> None:
        """Start the process now, so that several get ready at once; no effect on one that runs."""
        if self._process is not None and self._process.poll() is None:
            return
        near, far = socket.socketpair()
        with far:
            command = [sys.executable, "-m", __spec__.name, str(far.fileno())]
            self._process = subprocess.Popen(
                command,
                pass_fds=[far.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._pipe, self._ready = Connection(near.detach()), False

    def send(self, function: Callable[..., Any], *arguments: object, limit_s: float) -> None:
        """Begin a call that may take so long."""
        self.start()
        assert self._pipe is not None
        try:
            self._pipe.send((function, arguments, limit_s))
        except OSError as error:
            self.close()
            raise ChildDiedError(late=False) from error

    def receive(self, limit_s: float, start_s: float = START_S) -> Any:
        """The answer to the call begun last; raises ``ChildRaisedError`` or ``ChildDiedError``.

        A new process is given ``start_s`` more.
        """
        assert self._pipe is not None
        try:
            if not self._pipe.poll(limit_s + (0 if self._ready else start_s)):
                raise ChildDiedError(late=True)
            good, answer = self._pipe.recv()
        except (OSError, EOFError) as error:
            self.close()
            raise ChildDiedError(late=False) from error
        except BaseException:
            self.close()
            raise
        self._ready = True
        if not good:
            raise ChildRaisedError(answer)
        return answer

    def ask(self, function: Callable[..., Any], *arguments: object, limit_s: float) -> Any:
        """The function's answer within so many seconds; raises as ``receive`` does."""
        self.send(function, *arguments, limit_s=limit_s)
        return self.receive(limit_s)

    def close(self) -> None:
        """End the process."""
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            with suppress(ProcessLookupError):  # with all that it started
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = self._pipe = None


def _serve(pipe: Connection) -> None:
    """Answer calls until the parent is gone."""
    while True:
        try:
            function, arguments, limit_s = pipe.recv()
        except EOFError:
            return
        signal.alarm(math.ceil(limit_s + _GRACE_S))
        try:
            answer: tuple[bool, Any] = True, function(*arguments)
        except Exception as error:  # of whatever kind: it is the parent's to judge
            answer = False, f"{type(error).__name__}: {str(error)[:500]}"
        signal.alarm(0)
        pipe.send(answer)


if __name__ == "__main__":
    keep_torch_out()
    _serve(Connection(int(sys.argv[1])))
