"""What the probers share: an even pace, and a stream of samples on standard output."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence

from controller.demo.samples import LAYOUT, NOBODY, SampleKind

FLUSH_SECONDS = 0.02
STALL_SECONDS = 0.005  # a longer delay is recorded


def hurry() -> None:
    """Raises the priority of this process and of those that it starts from now on, where the kernel allows it."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)


def step_back() -> None:
    """Lowers the priority of this thread, so that recording does not delay what is recorded."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def hurry_most() -> None:
    """Gives this process real-time priority, where the kernel allows it. It must sleep most of the time."""
    hurry()
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


class Tape:
    """Writes samples to stdout in batches."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._flush_at = 0.0

    def add(self, kind: SampleKind, node: int, value: int, *moments: float) -> None:
        """Adds one sample. `moments`: sent, answered, received."""
        self._pending += LAYOUT.pack(kind, node, value, *moments)

    def flush(self, now: float) -> None:
        """Writes the batch if it is due."""
        if now >= self._flush_at and self._pending:
            os.write(1, self._pending)
            self._pending.clear()
            self._flush_at = now + FLUSH_SECONDS


def paced(
    sockets: Sequence[socket.socket], cycle: float, tape: Tape | None = None
) -> Iterator[tuple[socket.socket | None, float]]:
    """Yields (None, now) when a cycle begins, and (socket, now) when that socket has something to read. Never ends."""
    hurry_most()
    due = time.monotonic()
    while True:
        now = time.monotonic()
        if now < due:
            readable, _, _ = select.select(sockets, [], [], due - now)
            for ready in readable:
                yield ready, time.monotonic()
            continue
        if tape is not None:
            if now - due > STALL_SECONDS:
                tape.add(SampleKind.STALL, NOBODY, 0, due, 0.0, now)
            tape.flush(now)
        due = max(due, now - STALL_SECONDS) + cycle
        yield None, now
