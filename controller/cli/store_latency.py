"""Measures how long the store takes to answer this node, and which lease durations that allows.

A round sends one write and one read at the same time, and each must be answered within `Timing.call_timeout`. Only
reads are measured, so that the measurement changes nothing; a write is assumed to take `WRITE_COST` times as long. The
second slowest read counts: a lease outlasts one lost round in ten.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from controller.config.problem import Problem, describe_found
from controller.core.timing import Timing
from controller.stores.registry import store_type

if TYPE_CHECKING:
    from controller.config.model import Config
    from controller.stores.base import Store

READS = 10
WRITE_COST = 2.0  # several machines or disks confirm a write, while one answers a read
ASK_SECONDS = 15.0  # the time limit of the whole measurement
_CALL_SECONDS = 5.0  # the time limit of one call
_LEASE_TENTHS = (5, 36001)  # the range of `lease.duration_seconds`, in tenths of a second
_PAUSE_SECONDS = 0.05  # between reads, so that one slow moment does not slow them all


@dataclass(frozen=True, slots=True)
class Latency:
    """How long the reads took, in seconds and in order. `first` opened the connection and is not in `reads`."""

    first: float
    reads: tuple[float, ...]

    @property
    def typical(self) -> float:
        """The median of the reads (the upper one), in seconds."""
        return sorted(self.reads)[len(self.reads) // 2]

    @property
    def slow(self) -> float:
        """The second slowest read, in seconds."""
        return sorted(self.reads)[-2]

    @property
    def call(self) -> float:
        """The time limit that a call needs, in seconds."""
        return self.slow * WRITE_COST


async def store_latency(config: Config) -> Latency:
    """Reads from the configured store `READS` + 1 times. Writes nothing.

    Raises StoreError when a read fails, TimeoutError when the reads take longer than `ASK_SECONDS`.
    """
    kind = store_type(config.store.type)
    store = kind.open(config.store.options, cluster=config.cluster, call_timeout=_CALL_SECONDS)
    try:
        async with asyncio.timeout(ASK_SECONDS):
            first = await _read(store)
            return Latency(first, tuple([await _read(store, _PAUSE_SECONDS) for _ in range(READS)]))
    finally:
        await store.close()


def shortest_lease(call_seconds: float, drift: float = 0.01, overshoot: float = 0.05) -> float:
    """Returns the shortest lease, in seconds to a tenth, whose derived durations give each call this long."""
    tenths = range(*_LEASE_TENTHS)
    carries = (Timing.derive(n / 10, drift=drift, overshoot=overshoot).call_timeout >= call_seconds for n in tenths)
    return next((n / 10 for n, enough in zip(tenths, carries, strict=True) if enough), inf)


def latency_problems(config: Config, latency: Latency) -> Iterator[Problem]:
    """Reports a lease that is too short for the store's answers, and names the key to change."""
    timing = config.timing()
    if latency.call <= timing.call_timeout:
        return
    given = config.lease.renew_deadline_seconds is not None or config.lease.retry_period_seconds is not None
    alone = ", with renew_deadline_seconds and retry_period_seconds left out" if given else ""
    least = shortest_lease(latency.call, timing.drift, timing.overshoot)
    allowed = (
        f"at least {least:g}{alone}: the {config.store.type} store answers a read in "
        f"{latency.slow:.3f} s, a write is assumed to take {latency.call:.3f} s, and a call of this lease may take "
        f"{timing.call_timeout:.3f} s"
    )
    yield config.problem(("lease", "duration_seconds"), describe_found(timing.lease_duration, allowed))


async def _read(store: Store, after: float = 0.0) -> float:
    await asyncio.sleep(after)
    began_at = time.monotonic()
    await store.read("")
    return time.monotonic() - began_at
