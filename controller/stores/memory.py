"""A store in memory, for tests. Several nodes of one process share a `Shelf`; nothing outlives the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from controller.stores.base import Conflict, Entry, Version


@dataclass(slots=True)
class Shelf:
    """The data that the stores of one process share. Its revision only grows, so that no version is used twice."""

    entries: dict[str, Entry] = field(default_factory=dict)
    revision: int = 0
    watches: set[asyncio.Event] = field(default_factory=set)


class MemoryStore:
    """One cluster's part of a shelf."""

    def __init__(self, shelf: Shelf, cluster: str) -> None:
        self._shelf = shelf
        self._root = f"{cluster}\0"
        self._closed = False

    async def read(self, prefix: str) -> Mapping[str, Entry]:
        """Return every key of the cluster that begins with prefix."""
        root = self._root
        found = self._shelf.entries.items()
        return {key.removeprefix(root): entry for key, entry in found if key.startswith(root + prefix)}

    async def swap(self, key: str, value: bytes | None, expected: Version | None) -> Version:
        """Replace, create or delete as `controller.stores.base.Store` says. Raises Conflict."""
        shelf, path = self._shelf, self._root + key
        current = shelf.entries.get(path)
        if (current.version if current else None) != expected:
            raise Conflict(key)
        shelf.revision += 1
        version = Version(str(shelf.revision))
        if value is None:
            shelf.entries.pop(path, None)
        else:
            shelf.entries[path] = Entry(value, version)
        self._wake()
        return version

    async def changes(self, prefix: str) -> AsyncIterator[Mapping[str, Entry]]:
        """Yield the entries under prefix once at the start, then after each change."""
        changed = asyncio.Event()
        self._shelf.watches.add(changed)
        seen: Mapping[str, Entry] | None = None
        try:
            while not self._closed:
                changed.clear()
                if (present := await self.read(prefix)) != seen:
                    seen = present
                    yield present
                else:
                    await changed.wait()
        finally:
            self._shelf.watches.discard(changed)

    async def close(self) -> None:
        """End the watches."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        for changed in self._shelf.watches:
            changed.set()
