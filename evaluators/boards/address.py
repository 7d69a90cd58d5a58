"""Where boards are found: a tracker, and the key under which it lists them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from understudy import ConfigError

EMULATED = "-emulated"
"""How the key of an emulated machine ends: its times are of the emulator, and are never called measured."""


@dataclass(frozen=True)
class Tracker:
    """A TVM RPC tracker."""

    host: str
    port: int

    @staticmethod
    def parse(text: str) -> Tracker:
        """The tracker of ``HOST:PORT``; raises ``ConfigError`` for anything else."""
        host, _, port = text.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ConfigError(f"a tracker is written HOST:PORT, such as 127.0.0.1:9190, but got {text!r}")
        return Tracker(host, int(port))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class BoardAddress:
    """All boards that ``tracker`` lists under ``key``: they are alike, and any of them may measure."""

    tracker: Tracker
    key: str

    @staticmethod
    def parse(text: str) -> BoardAddress:
        """The boards of ``HOST:PORT:KEY``; raises ``ConfigError`` for anything else."""
        tracker, _, key = text.rpartition(":")
        if not tracker or not key or not tracker.rpartition(":")[2].isdigit():
            raise ConfigError(f"a board is written TRACKER:KEY, such as 127.0.0.1:9190:rpi5, but got {text!r}")
        return BoardAddress(Tracker.parse(tracker), key)

    @property
    def emulated(self) -> bool:
        """Whether these are emulated machines: `board serve` ends the key so when it runs on one."""
        return self.key.endswith(EMULATED)

    def __str__(self) -> str:
        return f"{self.tracker}:{self.key}"


def is_loopback(host: str) -> bool:
    """Whether an address is of this computer alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
