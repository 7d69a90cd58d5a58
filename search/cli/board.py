"""`understudy board`."""

from __future__ import annotations

import os
import socket
import sys

import click

from understudy import ConfigError, DeviceLost

WARNING = """\
TVM's RPC executes what it is sent: whoever reaches the tracker or a board's server can run any code there.
Keep both on this computer (SSH tunnels), or on a network whose every member you trust."""


@click.group("board")
def command() -> None:
    """Boards that measure for searches elsewhere: a tracker here, a server on each of them.

    TVM's RPC executes what it is sent: it belongs behind an SSH tunnel or on a trusted network.
    """


@command.command("tracker")
@click.option("--host", default="127.0.0.1", show_default=True, help="address to listen on")
@click.option("--port", default=9190, show_default=True, help="port to listen on")
@click.option("--i-trust-this-network", is_flag=True, help="listen on another address than this computer's own")
def tracker(host: str, port: int, i_trust_this_network: bool) -> None:
    """Run the tracker, where boards report and searches ask for them, until interrupted."""
    from evaluators.boards.address import is_loopback

    if not is_loopback(host) and not i_trust_this_network:
        raise ConfigError(
            f"a tracker on {host} lets anyone on that network use the boards, which run what they are sent: leave "
            "--host out and let boards come through `board serve --ssh-tunnel`, or give --i-trust-this-network"
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(f"cannot listen on {host}:{port} ({error.strerror}): give another --port") from error
    click.echo(f"Tracker at {host}:{port}. Next, on each board: understudy board serve --key KEY ...", err=True)
    click.echo(WARNING, err=True)
    listen = ["--host", host, "--port", str(port), "--port-end", str(port + 1), "--silent"]
    os.execv(sys.executable, [sys.executable, "-m", "tvm.exec.rpc_tracker", *listen])


@command.command("serve")
@click.option("--key", required=True, help="what this device is, such as rpi5: boards of one key are alike")
@click.option("--tracker", metavar="HOST:PORT", help="the tracker, as seen from the tunnel's end if there is one")
@click.option("--ssh-tunnel", metavar="USER@HOST", help="reach the tracker's computer through SSH")
@click.option("--i-trust-this-network", is_flag=True, help="listen on the network")
def serve(key: str, tracker: str | None, ssh_tunnel: str | None, i_trust_this_network: bool) -> None:
    """Serve this device until interrupted; the server is started again whenever its tracker loses it."""
    from evaluators.boards.serve import ServeProblem
    from evaluators.boards.serve import serve as serve_board

    try:
        serve_board(key, tracker, ssh_tunnel, i_trust_this_network)
    except ServeProblem as problem:
        raise ConfigError(str(problem)) from problem


@command.command("list")
@click.argument("tracker", metavar="HOST:PORT", default="127.0.0.1:9190")
def show(tracker: str) -> None:
    """The boards that a tracker lists."""
    from rich.table import Table

    from evaluators.boards.address import Tracker
    from evaluators.boards.remote import listed
    from search.display import make_console

    try:
        boards = listed(Tracker.parse(tracker))
    except (OSError, ValueError) as error:
        raise DeviceLost(f"no tracker answers at {tracker} ({error}): start `understudy board tracker`") from error
    table = Table("key", "address", "use it with", box=None)
    for key, address in boards:
        table.add_row(key, address, f"--board {tracker}:{key}")
    make_console().print(table if boards else f"The tracker at {tracker} lists no board.")
