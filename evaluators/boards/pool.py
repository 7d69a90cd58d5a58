"""Clients for as many callers as there are at once; a board is given back soon after its last call."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from evaluators.boards.address import BoardAddress
from evaluators.boards.client import Client

LINGER_S = 0.5
"""Seconds for which a board stays ours after a call: a student is checked and measured in one session."""


class ClientPool:
    """Every caller gets a client of its own; the tracker's queue decides which board each of them gets."""

    def __init__(self, address: BoardAddress, threads: int, call_s: float, on_gpu: bool) -> None:
        self._client = partial(Client, address, threads, call_s, on_gpu)
        self._lock = threading.Lock()
        self._idle: list[Client] = []

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A client that nobody else uses meanwhile, one that holds a board if there is one."""
        with self._lock:
            self._idle.sort(key=lambda client: client.board is not None)
            client = self._idle.pop() if self._idle else self._client()
        try:
            yield client
        finally:
            self._put_back(client)
            if client.board is not None:
                timer = threading.Timer(LINGER_S, self._retire, (client,))
                timer.daemon = True
                timer.start()

    def close(self) -> None:
        """Give back the boards of all who are idle, and end those clients."""
        with self._lock:
            idle, self._idle = self._idle, []
        for client in idle:
            client.close()

    def _put_back(self, client: Client) -> None:
        with self._lock:
            self._idle.append(client)

    def _retire(self, client: Client) -> None:
        """Give back the board of a client that is still idle."""
        with self._lock:
            if client not in self._idle or not client.rested(LINGER_S):
                return
            self._idle.remove(client)
        client.release()
        self._put_back(client)
