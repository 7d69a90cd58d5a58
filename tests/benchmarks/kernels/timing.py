"""Runtimes in processes of their own, timed in turn.

Each runtime is built and kept warm by its own process, so that none waits for another's threads or shares its
memory pools. A process answers only when its threads have gone to sleep (they spin for a while after a call), so
that nothing else runs while the next one is timed.
"""

from __future__ import annotations

import logging
import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from results.bundle.runner import measure_latency
from tests.benchmarks.kernels.networks import NETWORKS
from tests.benchmarks.kernels.peers import MAKERS

BUILD_S = 900.0
"""Longest that a runtime may take to build a network."""

ROUND_S = 0.1
"""Seconds of calls in a round, or one call where it takes longer."""

IDLE_SHARE = 0.1
WAKING_S = 0.01


class Failed(Exception):  # noqa: N818
    """A runtime could not build or run the network; the text is its own first words."""


@dataclass
class Server:
    """A runtime ready to be timed: the process's end of the pipe, its output for the input, what building took."""

    pipe: Connection
    output: Any
    build_s: float

    def time(self) -> float:
        """Median seconds of a call in one round; raises ``Failed`` when the runtime dies."""
        self.pipe.send(True)
        return float(_received(self.pipe, BUILD_S))


@contextmanager
def serving(runtimes: Sequence[str], network: str, threads: int) -> Iterator[dict[str, Server | Failed]]:
    """Every runtime built and warm, or why it is not."""
    with ExitStack() as stack:
        yield {runtime: _start(stack, runtime, network, threads) for runtime in runtimes}


def alternate(servers: Mapping[str, Server], rounds: int) -> dict[str, list[float]]:
    """Seconds by runtime, ``rounds`` of each, A, B, C, A, B, C; one that fails meanwhile has fewer."""
    times: dict[str, list[float]] = {runtime: [] for runtime in servers}
    for _ in range(rounds):
        for runtime, server in servers.items():
            try:
                times[runtime].append(server.time())
            except Failed:
                continue
    return times


def _start(stack: ExitStack, runtime: str, network: str, threads: int) -> Server | Failed:
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe()
    process = context.Process(target=_serve, args=(runtime, network, threads, far), daemon=True)
    process.start()
    stack.callback(process.kill)
    far.close()
    try:
        return Server(near, *_received(near, BUILD_S))
    except Failed as failure:
        return failure


def _received(pipe: Connection, seconds: float) -> Any:
    try:
        if not pipe.poll(seconds):
            raise Failed(f"no answer within {seconds:g} s")
        answer = pipe.recv()
    except (EOFError, OSError) as error:
        raise Failed("its process died") from error
    if isinstance(answer, Failed):
        raise answer
    return answer


def _serve(runtime: str, network: str, threads: int, pipe: Connection) -> None:
    """A process that owns one runtime: says what it answers and how long it took, then times calls on request."""
    torch.set_num_threads(threads)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        try:
            module, x = NETWORKS[network].build()
            run, seconds = MAKERS[runtime](module, x, threads, Path(folder))
            values = x.numpy()
            output = np.array(_first(run(values)))
        except Exception as error:  # whatever a runtime raises: it is left out, the others go on
            pipe.send(Failed(_first_words(error)))
            return
        _wait_until_idle()
        pipe.send((output, seconds))
        while pipe.recv():
            seconds = _time(run, values)
            _wait_until_idle()
            pipe.send(seconds)


def _first(answer: Any) -> Any:
    return answer[0] if isinstance(answer, list | tuple) else answer


def _time(run: Any, values: Any) -> float:
    start = time.perf_counter()
    run(values)
    once = time.perf_counter() - start
    return once if once > ROUND_S else measure_latency(run, values, ROUND_S)["median_s"]


def _wait_until_idle() -> None:
    """Until the threads of this process use less than a tenth of a processor; a second at most."""
    end = time.perf_counter() + 1
    while time.perf_counter() < end:
        start, used = time.perf_counter(), time.process_time()
        time.sleep(WAKING_S)
        if time.process_time() - used < IDLE_SHARE * (time.perf_counter() - start):
            return


def _first_words(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:300]}"
