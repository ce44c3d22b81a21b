"""Feeds the core with what a store's watch reports."""

from __future__ import annotations

import asyncio
import logging

from controller.core import events as ev
from controller.core.records import GROUPS
from controller.daemon.node import Node
from controller.stores.base import Watcher

_log = logging.getLogger("anyvip")

_AGAIN_SECONDS = 5.0  # between a watch that failed and the next one


async def post_hints(store: Watcher, node: Node) -> None:
    """Post a hint for each change that the store reports, until cancelled."""
    while True:
        try:
            async for entries in store.changes(GROUPS):
                node.post(ev.Hint(entries))
        except Exception as error:  # noqa: BLE001  (hints only add speed: a plugin that fails at them must not end us)
            _log.warning("the store reports no changes: %s: %s", type(error).__name__, error)
        await asyncio.sleep(_AGAIN_SECONDS)
