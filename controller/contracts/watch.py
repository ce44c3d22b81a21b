"""The contract of a store that reports changes: see `controller.stores.base.Watcher`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from controller.contracts.rules import PATIENCE_SECONDS, rule
from controller.contracts.stores import KEY, OpensStores, OpenStore
from controller.stores.base import Entry, Store, Version, Watcher


class Hints:
    """The hints of one watch. `count` only grows; `told` holds the last entry that it yielded for each key."""

    def __init__(self) -> None:
        self.count = 0
        self.told: dict[str, Entry] = {}
        self._arrived = asyncio.Event()

    async def next(self) -> None:
        """Wait for a hint that has not been waited for yet."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._arrived.wait()
        self._arrived.clear()

    @property
    def waiting(self) -> bool:
        """Whether there is a hint that has not been waited for."""
        return self._arrived.is_set()

    async def collect(self, changes: AsyncIterator[Mapping[str, Entry]]) -> None:
        """Collect hints until the watch ends."""
        async for entries in changes:
            self.count += 1
            self.told.update(entries)
            self._arrived.set()


@asynccontextmanager
async def watching(store: Store, prefix: str = "") -> AsyncIterator[Hints]:
    """Watch in a task that ends with the context."""
    hints = Hints()
    watch = asyncio.create_task(hints.collect(_changes(store, prefix)))
    try:
        yield hints
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


def _changes(store: Store, prefix: str) -> AsyncIterator[Mapping[str, Entry]]:
    watcher: Watcher = cast("Any", store)
    return watcher.changes(prefix)


@pytest.mark.asyncio
class WatcherContract(OpensStores):
    """Subclass it beside `StoreContract`, with the same fixture `make_store`."""

    @rule
    async def test_a_watch_hints_at_the_start_and_at_each_kind_of_change(self, open_store: OpenStore) -> None:
        """A watch must give a hint at its start and after each creation, replacement and deletion."""
        store, other = open_store(), open_store()
        async with watching(store, "groups/") as hints:
            await hints.next()
            created = await other.swap(KEY, b"one", None)
            await hints.next()
            assert set(await store.read("groups/")) == {KEY}
            swapped = await other.swap(KEY, b"two", created)
            await hints.next()
            await other.swap(KEY, None, swapped)
            await hints.next()
            assert dict(await store.read("groups/")) == {}

    @rule
    async def test_a_watch_tells_what_a_read_would(self, open_store: OpenStore) -> None:
        """A watch must yield only what a read would have returned, and must arrive at what a read returns."""
        store = open_store()
        large = b"x" * 200_000  # longer than any buffer on the way
        async with watching(store, "groups/") as hints:
            await hints.next()
            await store.swap("groups/web", b"one", None)
            await store.swap("groups/large", large, None)
            expected = await store.read("groups/")
            while hints.told != expected:
                await hints.next()

    @rule
    async def test_a_watch_of_one_prefix_is_quiet_while_another_changes(self, open_store: OpenStore) -> None:
        """A watch must give no hints for keys that do not begin with its prefix."""
        store, other = open_store(), open_store()
        async with watching(store, "groups/") as hints:
            await hints.next()
            version: Version | None = None
            for number in range(10):
                version = await other.swap("sessions/1", str(number).encode(), version)
            await asyncio.sleep(0.2)
            assert not hints.waiting

    @rule
    async def test_several_watches_of_one_store_all_hint(self, open_store: OpenStore) -> None:
        """Of several watches of one store, each must give its hints."""
        store = open_store()
        async with watching(store, "groups/") as one, watching(store, "groups/") as two, watching(store, "") as three:
            for hints in (one, two, three):
                await hints.next()
            await store.swap(KEY, b"", None)
            for hints in (one, two, three):
                await hints.next()

    @rule
    async def test_closing_ends_the_watches(self, open_store: OpenStore) -> None:
        """Closing a store must end its watches."""
        store = open_store()
        hints = Hints()
        watch = asyncio.create_task(hints.collect(_changes(store, "")))
        await hints.next()
        await store.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await watch
        await store.close()
