"""What a board says of itself: copies of its files, which ``hw_profiles.detect`` reads as a device's own."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from evaluators.boards.address import BoardAddress
from evaluators.boards.client import BoardLostError, Client
from evaluators.boards.device import CALL_S, WAIT_S, BoardDevice
from hw_profiles.data_file import UNKNOWN
from hw_profiles.detect import FILES, detected_facts
from hw_profiles.profile import Profile
from results.units import format_size
from understudy import DeviceLost, MeasureError, ProfileError

_LINK_S = 60.0
"""Seconds that zig may take more at its first use for an instruction set."""
_MOST_BYTES = 128 * 2**20
"""They travel to the board."""
_PROCESSORS = "sys/devices/system/cpu/present"


def copy_facts(address: BoardAddress, folder: Path, wait_s: float = WAIT_S) -> str:
    """Copy the files that describe a board into ``folder``, under their own paths; the board's instruction set.

    Raises ``MeasureError`` for an emulated board, whose files are those of the computer that emulates it, and
    ``DeviceLost`` when there is no board or it was lost meanwhile.
    """
    from evaluators.boards.remote_files import fetch, fetch_unsized, instruction_set

    if address.emulated:
        raise MeasureError(
            f"the boards of {address} are emulated, and their files are of the computer that emulates them: "
            "name a real board"
        )
    with closing(Client(address, 1, CALL_S + _LINK_S)) as client:
        client.lease(wait_s)
        try:
            isa: str = client.ask(instruction_set)
            present = client.ask(fetch, [f"/{_PROCESSORS}"]).get(f"/{_PROCESSORS}", b"0")
            unsized = [f"/{name}" for name in FILES if name.startswith("proc/")]
            sized = [
                f"/{name.format(cpu=cpu)}"
                for name in FILES
                if not name.startswith("proc/")
                for cpu in range(_last(present.decode()) + 1)
            ]
            found = {**client.ask(fetch_unsized, unsized, isa), **client.ask(fetch, list(dict.fromkeys(sized)))}
        except BoardLostError as error:
            raise DeviceLost(f"{error} while it told of itself: try again") from error
    for path, content in found.items():
        if content:
            copy = folder / path.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
    return isa


def board_facts(address: BoardAddress, wait_s: float = WAIT_S) -> dict[str, Any]:
    """The facts of a profile as a board tells them, and the bandwidth of its memory as measured there.

    ``?`` stands where the board is silent. Raises as ``copy_facts``, and ``ProfileError`` for a device that no
    profile can describe.
    """
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        isa = copy_facts(address, Path(folder), wait_s)
        facts = detected_facts(Path(folder))
    if facts["isa"] != isa:
        raise ProfileError(
            f"the TVM of the board {address} is built for {isa}, but its processor is {facts['isa']}: install the "
            "TVM of its system there"
        )
    if [name for name, value in facts.items() if value == UNKNOWN] == ["memory_bandwidth"]:
        with closing(BoardDevice(address, _assumed(facts), wait_s=wait_s)) as device:
            size = _stream_bytes(device.profile)
            facts["memory_bandwidth"] = float(f"{device.bandwidth(size):.3g}")
        source = f"measured: an element-wise kernel on {format_size(size)}, all threads"
        facts["sources"] = {**facts["sources"], "memory_bandwidth": source}
    return facts


def _assumed(facts: dict[str, Any]) -> Profile:
    """A profile to compile for, its bandwidth of no consequence."""
    return Profile(**{**facts, "name": "board", "reach": "board", "memory_bandwidth": 1e10})


def _stream_bytes(profile: Profile) -> int:
    """More than the caches hold, and no large part of the memory."""
    caches = max(profile.l3_bytes, profile.cores * profile.l2_bytes)
    return min(4 * caches, profile.memory_bytes // 8, _MOST_BYTES)


def _last(present: str) -> int:
    """The last of a list of processors like ``0-3`` or ``0,2-5``."""
    return int(present.strip().rpartition(",")[2].rpartition("-")[2])
