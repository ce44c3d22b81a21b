"""What the probers share: an even pace, and a stream of samples on standard output."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence

from controller.demo.samples import LAYOUT, NOBODY, Kind

FLUSH_SECONDS = 0.02
STALL_SECONDS = 0.005  # later than that is worth telling


def hurry() -> None:
    """Come before what else runs on this machine, where that is allowed; what is started from here on does, too."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)


def step_back() -> None:
    """This thread comes after what is being watched: writing down is not to hold up what it is about."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def hurry_most() -> None:
    """This process, which sleeps nearly always, never waits for one that computes, where that is allowed."""
    hurry()
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


class Tape:
    """Writes samples to standard output, some at a time."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._flush_at = 0.0

    def add(self, kind: Kind, node: int, value: int, *moments: float) -> None:
        """One sample; `moments`: sent, answered, received."""
        self._pending += LAYOUT.pack(kind, node, value, *moments)

    def flush(self, now: float) -> None:
        """Let the reader have them, if it is time."""
        if now >= self._flush_at and self._pending:
            os.write(1, self._pending)
            self._pending.clear()
            self._flush_at = now + FLUSH_SECONDS


def paced(
    sockets: Sequence[socket.socket], cycle: float, tape: Tape | None = None
) -> Iterator[tuple[socket.socket | None, float]]:
    """(None, now) each time a cycle begins; (socket, now) when that socket has something to read. Never ends."""
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
                tape.add(Kind.STALL, NOBODY, 0, due, 0.0, now)
            tape.flush(now)
        due = max(due, now - STALL_SECONDS) + cycle
        yield None, now
