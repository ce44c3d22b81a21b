"""The store: a compare-and-swap register, and what operators do to it behind everybody's back."""

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
    """Linearizable: a request takes effect at one moment, the one at which it is called here."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self.entries: dict[str, Entry] = {}
        self.down = 0  # how many reasons there are for not answering
        self._revision = 0
        self._changed = changed

    def read(self) -> Mapping[str, Entry]:
        """Every key."""
        return self.entries.copy()

    def swap(self, key: str, value: bytes | None, expected: Version | None) -> Version | None:
        """The new version, or None for a conflict."""
        present = self.entries.get(key)
        if (present.version if present else None) != expected:
            return None
        return self.put(key, value)

    def put(self, key: str, value: bytes | None) -> Version:
        """Write without looking: what an operator does, and how a swap ends."""
        self._revision += 1
        version = Version(str(self._revision))
        if value is None:
            self.entries.pop(key, None)
        else:
            self.entries[key] = Entry(value, version)
        self._changed(key)
        return version

    def snapshot(self) -> Snapshot:
        """A backup to restore from."""
        return Snapshot(self.entries.copy(), self._revision)

    def restore(self, backup: Snapshot, *, rewind: bool) -> None:
        """Go back to the backup. `rewind`: versions begin again where they were then, as etcd's revisions do."""
        self.entries = dict(backup.entries)
        if rewind:
            self._revision = backup.revision
