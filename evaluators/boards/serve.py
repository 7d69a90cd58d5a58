#!/usr/bin/env python3
"""Serve this device to searches elsewhere: what `understudy board serve` runs.

    python serve.py --key rpi5 --tracker laptop:9190 --i-trust-this-network
    python serve.py --key rpi5 --ssh-tunnel me@laptop

One file, so that a board needs nothing else of ours: Python, and
``pip install apache-tvm==0.27.0.post1 apache-tvm-ffi==0.1.14.post1 numpy psutil cloudpickle``.

TVM's RPC server executes what it is sent, with the rights of whoever started it, for anyone who can reach the
tracker or the server; nothing on the wire is encrypted. It belongs on a network whose every member is trusted,
or behind an SSH tunnel, which ``--ssh-tunnel`` makes.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import FrameType

LOOPBACK = "127.0.0.1"
EMULATED = "-emulated"
PERIOD_S = 2.0
UNLISTED_S = 8.0
"""A server that the tracker lists no more for so long has crashed inside, and is started again."""
START_S = 120.0
"""Seconds that a server has until it is listed first."""
TRACKER_S = 5.0


class ServeProblem(Exception):  # noqa: N818
    """The device cannot be served; the text says why and what to do."""


class BoardServer:
    """TVM's RPC server in a process of its own, and the tunnel to the tracker if there is one."""

    def __init__(self, key: str, tracker: tuple[str, int], tunnel: str | None) -> None:
        self.key = key
        self._tracker, self._tunnel_to = tracker, tunnel
        self._reached = tracker
        self._server: ForkProcess | None = None
        self._tunnel: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> None:
        """Start the server on a port that is free here, reached through the tunnel or directly."""
        self.port = _free_port()
        if self._tunnel_to is not None:
            self._reached = (LOOPBACK, _free_port())
            self._tunnel = subprocess.Popen(self._tunnel_command(self._reached[1]), stdin=subprocess.DEVNULL)
        arguments = (self.key, self.port, self._reached)
        self._server = multiprocessing.get_context("fork").Process(target=_run_server, args=arguments)
        self._server.start()

    def watch(self) -> str:
        """Wait until the server must be started again; why."""
        due = time.monotonic() + START_S
        while True:
            time.sleep(PERIOD_S)
            if self._server is None or not self._server.is_alive():
                return "the server ended"
            if self._tunnel is not None and self._tunnel.poll() is not None:
                return "the tunnel ended"
            known = _listed_ports(self._reached, self.key)
            if known is None or self.port in known:  # a tracker that is away lists nobody: the server waits for it
                due = time.monotonic() + UNLISTED_S
            elif time.monotonic() > due:
                return "the tracker does not list it any more"

    def stop(self) -> None:
        """End the server with all that it started, and the tunnel."""
        if self._server is not None and self._server.pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGKILL)
            self._server.join()
        if self._tunnel is not None:
            self._tunnel.terminate()
            self._tunnel.wait()
        self._server = self._tunnel = None

    def _tunnel_command(self, tracker_port: int) -> list[str]:
        host, port = self._tracker
        assert self._tunnel_to is not None
        options = ("ExitOnForwardFailure=yes", "ServerAliveInterval=5", "ServerAliveCountMax=3", "BatchMode=yes")
        command = ["ssh", "-N", *(part for option in options for part in ("-o", option))]
        command += ["-L", f"{LOOPBACK}:{tracker_port}:{host}:{port}"]
        return [*command, "-R", f"{LOOPBACK}:{self.port}:{LOOPBACK}:{self.port}", self._tunnel_to]


def _run_server(key: str, port: int, tracker: tuple[str, int]) -> None:
    """TVM's server, until it breaks or its supervisor is gone.

    A session that crashes breaks the thread that listens. What `python -m tvm.exec.rpc_server` does is the same,
    but that process then stays, and nobody can reach it; forked from a process that has imported TVM, a new
    one is there at once.
    """
    from tvm.rpc.server import PopenRPCServerState

    os.setsid()
    supervisor = os.getppid()
    address = LOOPBACK if _is_loopback(tracker[0]) else None
    listening = PopenRPCServerState(
        address or "0.0.0.0", port, port + 1, tracker_addr=tracker, key=key, custom_addr=address, silent=True
    ).thread
    while listening.is_alive() and os.getppid() == supervisor:
        listening.join(1.0)
    os.killpg(0, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"


def _listed_ports(tracker: tuple[str, int], key: str) -> set[int] | None:
    """Ports of the servers that the tracker lists under a key; None when it does not answer."""
    from tvm.rpc.base import RPC_TRACKER_MAGIC, TrackerCode, recvall, recvjson, sendjson

    try:
        with socket.create_connection(tracker, TRACKER_S) as connection:
            connection.sendall(struct.pack("<i", RPC_TRACKER_MAGIC))
            recvall(connection, 4)
            sendjson(connection, [TrackerCode.SUMMARY])
            boards = recvjson(connection)[1]["server_info"]
    except (OSError, ValueError):
        return None
    return {board["addr"][1] for board in boards if board["key"] == f"server:{key}"}


def is_emulated() -> bool:
    """Whether qemu runs this process: it hides that from itself, but not from a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writer, Path(f"/proc/{os.getppid()}/cmdline").read_bytes()[:256])
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        command = pipe.read()
    os.waitpid(child, 0)
    return Path(os.fsdecode(command.split(b"\0")[0])).name.startswith("qemu-")


def serve(key: str, tracker: str | None, tunnel: str | None, trusted: bool) -> None:
    """Serve until interrupted. The key of an emulated machine is made to say so.

    Raises ``ServeProblem`` when a network would have to be trusted that was not said to be.
    """
    host, _, port = (tracker or f"{LOOPBACK}:9190").rpartition(":")
    if not host or not port.isdigit():
        raise ServeProblem(f"a tracker is written HOST:PORT, such as {LOOPBACK}:9190, but got {tracker!r}")
    if tunnel is None and not trusted and not _is_loopback(host):
        raise ServeProblem(
            f"serving to {tracker} lets anyone on that network run any code on this device: give "
            "--ssh-tunnel user@computer instead, or --i-trust-this-network"
        )
    if ":" in key or not key:
        raise ServeProblem(f"a key is a word without a colon, such as rpi5, but got {key!r}")
    if is_emulated() and not key.endswith(EMULATED):
        key += EMULATED
    os.environ.update(TVM_NUM_THREADS=str(os.cpu_count()), TVM_BIND_THREADS="0")
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]  # TVM would import it
    importlib.import_module("tvm.rpc.server")  # once, for all servers that are forked from here
    server = BoardServer(key, (host, int(port)), tunnel)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        while True:
            server.start()
            print(f"serving as {key} on port {server.port}", flush=True)
            why = server.watch()
            print(f"starting again: {why}", flush=True)
            server.stop()
    finally:
        server.stop()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(
        description="Serve this device over TVM's RPC, which executes what it is sent."
    )
    parser.add_argument("--key", required=True, help="what the device is, such as rpi5")
    parser.add_argument("--tracker", help=f"HOST:PORT of the tracker [{LOOPBACK}:9190; at the tunnel's other end]")
    parser.add_argument("--ssh-tunnel", metavar="USER@HOST", help="reach the tracker's computer through SSH")
    parser.add_argument("--i-trust-this-network", action="store_true", help="listen on the network")
    given = parser.parse_args(arguments)
    try:
        serve(given.key, given.tracker, given.ssh_tunnel, given.i_trust_this_network)
    except ServeProblem as problem:
        print(f"Error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
