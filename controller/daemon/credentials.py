"""Looks when the store's credentials end, every minute: they are replaced while the daemon runs."""

from __future__ import annotations

import asyncio

from controller.stores.base import Credentialed
from controller.telemetry.telemetry import Telemetry

_FIRST_LOOK_SECONDS = 5.0  # later than what is urgent at the start
_LOOK_SECONDS = 60.0


async def watch_credentials(store: Credentialed, telemetry: Telemetry) -> None:
    """Tell the telemetry of the credentials until cancelled."""
    await asyncio.sleep(_FIRST_LOOK_SECONDS)
    while True:
        telemetry.credentials(await asyncio.to_thread(store.credentials))
        await asyncio.sleep(_LOOK_SECONDS)
