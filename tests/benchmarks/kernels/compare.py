"""The comparison of one network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from tests.benchmarks.kernels.comparison import WRONG, Comparison, Spread, relative_error
from tests.benchmarks.kernels.networks import NETWORKS
from tests.benchmarks.kernels.peers import OURS
from tests.benchmarks.kernels.timing import Failed, Server, alternate, serving


@dataclass(frozen=True)
class Prepared:
    """A network with every runtime that builds it and agrees with torch, warm and waiting."""

    network: str
    servers: Mapping[str, Server]
    errors: Mapping[str, float]
    failures: Mapping[str, str]

    def compare(self, rounds: int, known: Mapping[str, Spread] | None = None) -> Comparison:
        """Time them in turn; ``known`` are peers' times of another run, taken over."""
        times = alternate(self.servers, rounds)
        died = {name: "its process died" for name, taken in times.items() if not taken}
        ours = self.servers.get(OURS)
        return Comparison(
            self.network,
            NETWORKS[self.network].group,
            {**(known or {}), **{name: Spread.of(taken) for name, taken in times.items() if taken}},
            self.errors,
            {**self.failures, **died},
            ours.build_s if ours else None,
            side_by_side=not known,
        )


@contextmanager
def prepared(network: str, runtimes: Sequence[str], threads: int) -> Iterator[Prepared]:
    """Build the network under every runtime and check it against torch."""
    module, x = NETWORKS[network].build()
    with torch.no_grad():
        expected = module(x).numpy()
    with serving(runtimes, network, threads) as found:
        failures = {name: str(server) for name, server in found.items() if isinstance(server, Failed)}
        servers = {name: server for name, server in found.items() if isinstance(server, Server)}
        errors = {name: relative_error(expected, server.output) for name, server in servers.items()}
        wrong = {name: f"differs from torch by {error:.2g}" for name, error in errors.items() if error > WRONG}
        right = {name: server for name, server in servers.items() if name not in wrong}
        yield Prepared(network, right, errors, {**failures, **wrong})
