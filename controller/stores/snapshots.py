"""Compare-and-swap on a directory of one host, without a lock that a frozen process could keep.

Each numbered file is a snapshot of the whole store. The highest number is the current one. A writer reads the current
snapshot, makes the next one and gives it the next number with link(2), which is atomic and fails when the number is
taken. So a writer that freezes at any point, for any time, blocks no other writer and overwrites nothing. rename(2)
under flock(2) has neither property: a stopped holder keeps all others out, and a holder that thaws after the others
gave up on its lock renames over what they wrote.

- flock is only a queue, in which writers wait briefly so that they do not redo each other's work. A writer that does
  not get its turn soon goes on without it.
- The newest `KEEP` snapshots stay. A process removes a number only after it saw one at least `KEEP` above. So a writer
  that sees no number so high *after* its link knows that its number was never used before, and that it has won. A
  writer that was frozen for longer cannot know (StoreError), and no process ever reads the snapshot that it left.
- A scan returns every name that exists from its start to its end. It misses the current snapshot only if `KEEP` writes
  happen during one getdents(2).
- A snapshot is fsynced before it gets its number, and the directory afterwards, before the writer reports success.
- A version is the number at which the key was written and a random *lineage*, made when the directory was new, so
  that no version comes back after the directory was emptied.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.stores.base import Entry, StoreError, Version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

KEEP = 64
_NUMBER = re.compile(r"[0-9]{12}|[1-9][0-9]{12,}")  # as `_path` writes it: another file must not hide the snapshots
_ATTEMPTS = 100
_QUEUE_STEP_SECONDS = 0.001
_DRAFT_LIFE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The content of the store after write number `number`. Number 0 is the empty store."""

    number: int
    lineage: str
    entries: Mapping[str, Entry]

    def after(self, key: str, value: bytes | None) -> tuple[Snapshot, Version]:
        """Return the snapshot that follows when key is written (None: deleted), and the version of that write."""
        number = self.number + 1
        version = Version(f"{self.lineage}.{number}")
        entries = {name: entry for name, entry in self.entries.items() if name != key}
        if value is not None:
            entries[key] = Entry(value, version)
        return Snapshot(number, self.lineage, entries), version


class Snapshots:
    """The numbered snapshots in one directory. Calls block, and raise OSError and StoreError."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._drafts = directory / "drafts"
        self._loaded: tuple[tuple[int, int, int], Snapshot] | None = None

    def prepare(self) -> None:
        """Create the directory if it is missing."""
        self._drafts.mkdir(mode=0o700, parents=True, exist_ok=True)

    def latest(self) -> Snapshot:
        """Return the current snapshot."""
        for _ in range(_ATTEMPTS):
            number = max(self._numbers(), default=0)
            if number == 0:
                return Snapshot(0, secrets.token_hex(4), {})
            try:
                return self._load(number)
            except FileNotFoundError:
                continue  # removed since the scan, so a later one exists
        raise StoreError(f"{self.directory}: changes faster than it can be read")

    def append(self, snapshot: Snapshot) -> None:
        """Make this the current snapshot. Raises FileExistsError when its number is taken; nothing was written then."""
        draft = self._drafts / f"{os.getpid()}-{secrets.token_hex(8)}"
        try:
            _write_synced(draft, _pack(snapshot))
            os.link(draft, self._path(snapshot.number))
        finally:
            draft.unlink(missing_ok=True)
        _sync_directory(self.directory)
        highest = self._sweep()
        if highest >= snapshot.number + KEEP:
            raise StoreError(f"{self.directory}: {KEEP} other writes passed meanwhile: this write's outcome is unknown")

    @contextmanager
    def turn(self, patience: float) -> Iterator[None]:
        """Wait up to `patience` seconds for other writers to finish, then go on in any case."""
        self.prepare()
        lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            give_up_at = time.monotonic() + patience
            while not _lock_held(lock) and time.monotonic() < give_up_at:
                time.sleep(_QUEUE_STEP_SECONDS)
            yield
        finally:
            os.close(lock)

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:012d}"

    def _numbers(self) -> list[int]:
        try:
            return [int(name) for name in os.listdir(self.directory) if _NUMBER.fullmatch(name)]  # noqa: PTH208  (3 x faster)
        except FileNotFoundError:
            return []

    def _load(self, number: int) -> Snapshot:
        path = self._path(number)
        status = path.stat()
        identity = (number, status.st_ino, status.st_mtime_ns)
        if self._loaded is None or self._loaded[0] != identity:
            self._loaded = (identity, _unpack(path, number, path.read_bytes()))
        return self._loaded[1]

    def _sweep(self) -> int:
        """Remove the snapshots at least KEEP below the highest number, and return that number."""
        numbers = self._numbers()
        highest = max(numbers, default=0)
        for number in numbers:
            if number <= highest - KEEP:
                self._path(number).unlink(missing_ok=True)
        if highest % KEEP == 0:
            self._sweep_drafts()
        return highest

    def _sweep_drafts(self) -> None:
        """Remove the drafts of killed writers. When a writer was only frozen, its link fails and writes nothing."""
        oldest = time.time() - _DRAFT_LIFE_SECONDS
        for draft in self._drafts.iterdir():
            try:
                if draft.stat().st_mtime < oldest:
                    draft.unlink()
            except FileNotFoundError:
                continue


def _pack(snapshot: Snapshot) -> bytes:
    """Return a line of JSON that says where each value is, then the values, one per line."""
    keys = [(key, entry.version, len(entry.value)) for key, entry in snapshot.entries.items()]
    header = json.dumps({"lineage": snapshot.lineage, "keys": keys}, separators=(",", ":")).encode()
    return b"\n".join([header, *(entry.value for entry in snapshot.entries.values()), b""])


def _unpack(path: Path, number: int, data: bytes) -> Snapshot:
    header, _, body = data.partition(b"\n")
    entries: dict[str, Entry] = {}
    at = 0
    try:
        fields = json.loads(header)
        for key, version, length in fields["keys"]:
            entries[key] = Entry(body[at : at + length], Version(version))
            at += length + 1
        lineage = str(fields["lineage"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(f"{path}: not a snapshot of anyvip ({error}); {_REMEDY}") from error
    if at != len(body):
        raise StoreError(f"{path}: holds {len(body)} bytes of values instead of {at}; {_REMEDY}")
    return Snapshot(number, lineage, entries)


_REMEDY = "stop all daemons of this host, then remove the directory"


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock_held(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
