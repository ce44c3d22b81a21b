"""The store: a compare-and-swap register, and what operators do to it by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.stores.base import Entry, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A backup of the whole store."""

    entries: Mapping[str, Entry]
    revision: int


class Register:
    """A linearizable register: a request takes effect at the moment of the call."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self.entries: dict[str, Entry] = {}
        self.down = 0  # the number of reasons not to answer
        self._revision = 0
        self._changed = changed

    def read(self) -> Mapping[str, Entry]:
        """Return all keys with their entries."""
        return self.entries.copy()

    def swap(self, key: str, value: bytes | None, expected: Version | None) -> Version | None:
        """Write if the version is the expected one. Returns the new version, or None for a conflict."""
        present = self.entries.get(key)
        if (present.version if present else None) != expected:
            return None
        return self.put(key, value)

    def put(self, key: str, value: bytes | None) -> Version:
        """Write without a check of the version, as an operator does. Returns the new version."""
        self._revision += 1
        version = Version(str(self._revision))
        if value is None:
            self.entries.pop(key, None)
        else:
            self.entries[key] = Entry(value, version)
        self._changed(key)
        return version

    def snapshot(self) -> Snapshot:
        """Return a backup to restore from."""
        return Snapshot(self.entries.copy(), self._revision)

    def restore(self, backup: Snapshot, *, rewind: bool) -> None:
        """Go back to a backup. With `rewind` the versions go back, too, as etcd's revisions do."""
        self.entries = dict(backup.entries)
        if rewind:
            self._revision = backup.revision
