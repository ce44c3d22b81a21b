"""Reports the daemon's state to systemd (sd_notify(3)). Does nothing without systemd."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable

_log = logging.getLogger("anyvip")


def notify(state: str) -> None:
    """Send one state, such as ``READY=1`` or ``WATCHDOG=1``. Never raises: the daemon also runs without systemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(state.encode(), address)
    except OSError as error:
        _log.debug("cannot send %s to systemd: %s", state, error)


def watchdog_seconds() -> float | None:
    """Return the longest time between two pings that systemd accepts, in seconds; None when it wants none."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    return int(usec) / 1e6 if usec.isdigit() and int(usec) > 0 else None


async def ping_watchdog(alive: Callable[[], bool]) -> None:
    """Ping systemd's watchdog while `alive` returns true, three times per allowed interval.

    Returns immediately when systemd wants no pings.
    """
    seconds = watchdog_seconds()
    if seconds is None:
        return
    while True:
        if alive():
            notify("WATCHDOG=1")
        await asyncio.sleep(seconds / 3)
