"""Tells systemd how the daemon is (sd_notify(3)). Without systemd it does nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable

_log = logging.getLogger("anyvip")


def notify(state: str) -> None:
    """Send one state, such as ``READY=1`` or ``WATCHDOG=1``. Never raises: nobody may be listening."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(state.encode(), address)
    except OSError as error:
        _log.debug("systemd cannot be told %s: %s", state, error)


def watchdog_seconds() -> float | None:
    """How often systemd wants to hear from us at least, in seconds; None: it does not."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    return int(usec) / 1e6 if usec.isdigit() and int(usec) > 0 else None


async def ping_watchdog(alive: Callable[[], bool]) -> None:
    """As long as `alive` says so, tell systemd, three times as often as it wants to hear. Ends if it does not."""
    seconds = watchdog_seconds()
    if seconds is None:
        return
    while True:
        if alive():
            notify("WATCHDOG=1")
        await asyncio.sleep(seconds / 3)
