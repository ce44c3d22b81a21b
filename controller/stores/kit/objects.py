"""Builds a store from objects that can be written on a condition: one object per key, in a bucket or container.

A read lists the names with their versions, and fetches the objects whose version is not known yet. That is one request
when nothing has changed, whatever the number of groups, and one more for each other node that has renewed. A fetched
object can be newer than its listing; it then has its own version. So each key is as of a moment after the call, which
is enough for the election: it acts on one key's version at a time.

Fetches run concurrently. With n nodes, a concurrent write and read have at most n + 1 requests under way, and never
more than `THREADS`, on as many connections: the write, and after the listing one fetch per session. Our own session
is fetched only when the listing shows the write before its answer has arrived.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Protocol

from controller.stores.base import Entry, Version
from controller.stores.kit.blocking import Blocking

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.stores.kit.keys import Keys


LARGEST_VALUE = 2 * 1024 * 1024  # bytes; no record has as many, and of an object that has more, the rest is not read


class Bucket(Protocol):
    """A place for objects. Its methods block, are called from several threads, and send each request once.

    They raise Conflict, NotDone, Unsure and StoreError.
    """

    def listing(self, prefix: str) -> Mapping[str, Version]:
        """Return the version of every object whose name begins with prefix. A missing bucket is an error."""

    def get(self, name: str) -> Entry | None:
        """Return the object as it is now, cut after `LARGEST_VALUE` bytes; None when it does not exist."""

    def put(self, name: str, value: bytes, expected: Version | None) -> Version:
        """Write the object if it is still at `expected` (None: if it does not exist), and return its new version.

        No version is used twice.
        """

    def delete(self, name: str, expected: Version) -> None:
        """Delete the object if it is still at that version."""

    def close(self) -> None:
        """Close the connections. Raises nothing."""


class ObjectStore:
    """One cluster's objects."""

    def __init__(self, bucket: Bucket, keys: Keys, calls: Blocking) -> None:
        self._bucket = bucket
        self._keys = keys
        self._calls = calls
        self._known: dict[str, tuple[Entry, ...]] = {}  # by name: the latest that we know, and the one before

    async def read(self, prefix: str) -> Mapping[str, Entry]:
        """Return every key that begins with prefix. Raises StoreError."""
        by = self._calls.deadline()
        listing = partial(self._bucket.listing, self._keys.name(prefix))
        listed = await self._calls.run(listing, by, repeatable=True)
        keys = {name: key for name in listed if (key := self._keys.key(name)) is not None}  # others are not ours
        if not prefix:
            self._known = {name: entries for name, entries in self._known.items() if name in listed}
        try:
            async with asyncio.TaskGroup() as tasks:
                asked = {name: tasks.create_task(self._entry(name, listed[name], by)) for name in keys}
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        found = {keys[name]: task.result() for name, task in asked.items()}
        return {key: entry for key, entry in found.items() if entry is not None}

    async def swap(self, key: str, value: bytes | None, expected: Version | None) -> Version:
        """Replace, create or delete as `controller.stores.base.Store` says. Raises Conflict, StoreError."""
        by, name = self._calls.deadline(), self._keys.name(key)
        if value is None:
            assert expected is not None, "only an existing version can be deleted"
            await self._calls.run(partial(self._bucket.delete, name, expected), by, repeatable=False)
            return Version(f"{expected} deleted")
        version = await self._calls.run(partial(self._bucket.put, name, value, expected), by, repeatable=False)
        self._remember(name, Entry(value, version))
        return version

    async def close(self) -> None:
        """Close the connections. Raises nothing."""
        self._calls.close()
        self._bucket.close()

    async def _entry(self, name: str, version: Version, by: float) -> Entry | None:
        """Return the object in that version if it is known, else as it is now."""
        for known in self._known.get(name, ()):
            if known.version == version:
                return known
        entry = await self._calls.run(partial(self._bucket.get, name), by, repeatable=True)
        if entry is not None:
            self._remember(name, entry)
        return entry

    def _remember(self, name: str, entry: Entry) -> None:
        self._known[name] = (entry, *self._known.get(name, ()))[:2]
