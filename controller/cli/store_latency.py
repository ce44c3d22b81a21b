"""How long the store's answers take from this node, and which lease durations that carries.

A round sends one write and one read at once, and each must answer within `Timing.call_timeout`. Only reads are
measured, so that asking changes nothing; a write is taken to need `WRITE_COST` times as long. The slowest read but one
counts: one lost round in ten is what a lease outlasts anyway.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from controller.config.problem import Problem, found
from controller.core.timing import Timing
from controller.stores.registry import store_type

if TYPE_CHECKING:
    from controller.config.model import Config
    from controller.stores.base import Store

READS = 10
WRITE_COST = 2.0  # a write is confirmed by several machines or disks where a read asks one
ASK_SECONDS = 15.0  # the longest that asking takes
_CALL_SECONDS = 5.0  # the longest that one answer is waited for
_LEASE_TENTHS = (5, 36001)  # what `lease.duration_seconds` may be
_PAUSE_SECONDS = 0.05  # between reads, so that they are ten moments and not one


@dataclass(frozen=True, slots=True)
class Latency:
    """What the reads took, in seconds, in the order of asking. `first` opened the connection and is none of them."""

    first: float
    reads: tuple[float, ...]

    @property
    def typical(self) -> float:
        """Half of the reads took no longer, in seconds."""
        return sorted(self.reads)[len(self.reads) // 2]

    @property
    def slow(self) -> float:
        """All but one of the reads took no longer, in seconds."""
        return sorted(self.reads)[-2]

    @property
    def call(self) -> float:
        """How long a call must be given, in seconds."""
        return self.slow * WRITE_COST


async def store_latency(config: Config) -> Latency:
    """Ask the configured store a few times, within ASK_SECONDS; writes nothing. Raises StoreError, TimeoutError."""
    kind = store_type(config.store.type)
    store = kind.open(config.store.options, cluster=config.cluster, call_timeout=_CALL_SECONDS)
    try:
        async with asyncio.timeout(ASK_SECONDS):
            first = await _read(store)
            return Latency(first, tuple([await _read(store, _PAUSE_SECONDS) for _ in range(READS)]))
    finally:
        await store.close()


def shortest_lease(call_seconds: float, drift: float = 0.01, overshoot: float = 0.05) -> float:
    """The shortest allowed lease in seconds, to a tenth, whose derived durations give each call this long."""
    tenths = range(*_LEASE_TENTHS)
    carries = (Timing.derive(n / 10, drift=drift, overshoot=overshoot).call_timeout >= call_seconds for n in tenths)
    return next((n / 10 for n, enough in zip(tenths, carries, strict=True) if enough), inf)


def latency_problems(config: Config, latency: Latency) -> Iterator[Problem]:
    """Whether the store's answers fit into the lease; names the key to change."""
    timing = config.timing()
    if latency.call <= timing.call_timeout:
        return
    given = config.lease.renew_deadline_seconds is not None or config.lease.retry_period_seconds is not None
    alone = ", with renew_deadline_seconds and retry_period_seconds left out" if given else ""
    least = shortest_lease(latency.call, timing.drift, timing.overshoot)
    allowed = (
        f"at least {least:g}{alone}: the {config.store.type} store answers a read in "
        f"{latency.slow:.3f} s, a write is taken to need {latency.call:.3f} s, and a call of this lease may take "
        f"{timing.call_timeout:.3f} s"
    )
    yield config.problem(("lease", "duration_seconds"), found(timing.lease_duration, allowed))


async def _read(store: Store, after: float = 0.0) -> float:
    await asyncio.sleep(after)
    began_at = time.monotonic()
    await store.read("")
    return time.monotonic() - began_at
