"""The embedded store: a directory that the daemons of one host share. `snapshots` explains the algorithm.

The directory must be on a local file system: NFS and others do not keep the guarantees of link(2).
Every call runs in the store's own thread under `call_timeout`, so that a slow disk delays nothing else. A call that
has not begun by then, or has not reached its write, leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self, TypeVar
from urllib.parse import quote
from weakref import WeakSet

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from controller.stores.base import Conflict, Entry, StoreError, Version
from controller.stores.inotify import DirectoryWatch
from controller.stores.snapshots import Snapshots

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

T = TypeVar("T")
_WATCH_RETRY_SECONDS = 1.0
_LONGEST_QUEUE_SECONDS = 0.05


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("must be an absolute path: a relative one depends on the daemon's working directory")
    return path


class FileStore:
    """One cluster's records in a directory of its own."""

    class Options(BaseModel):
        """Configuration keys of ``store: {type: file}``."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        path: Annotated[Path, AfterValidator(_absolute)] = Field(
            default=Path("/var/lib/anyvip/store"),
            description="Directory on a local file system, the same for all daemons of the host; created if missing.",
        )

    def __init__(self, directory: Path, call_timeout: float) -> None:
        self._snapshots = Snapshots(directory)
        self._call_timeout = call_timeout
        self._thread = ThreadPoolExecutor(1, "file-store")
        self._watches: WeakSet[DirectoryWatch] = WeakSet()
        self._closed = False

    @classmethod
    def open(cls, options: Options, *, cluster: str, call_timeout: float) -> Self:
        """Return the cluster's store, without touching the disk. `call_timeout` in seconds."""
        return cls(options.path / f"{quote(cluster, safe='')}.store", call_timeout)

    async def read(self, prefix: str) -> Mapping[str, Entry]:
        """Return every key that begins with prefix. Raises StoreError."""
        present = await self._run(self._snapshots.latest)
        return {key: entry for key, entry in present.entries.items() if key.startswith(prefix)}

    async def swap(self, key: str, value: bytes | None, expected: Version | None) -> Version:
        """Replace, create or delete as `controller.stores.base.Store` says. Raises Conflict, StoreError."""
        deadline = time.monotonic() + self._call_timeout
        return await self._run(lambda: self._swap(key, value, expected, deadline))

    async def changes(self, prefix: str) -> AsyncIterator[Mapping[str, Entry]]:
        """Yield the entries under prefix once at the start, then after each change."""
        seen: Mapping[str, Entry] | None = None
        while not self._closed:
            try:
                async with DirectoryWatch(self._snapshots.directory) as watch:
                    self._watches.add(watch)
                    while not self._closed:
                        await self._run(self._snapshots.prepare)
                        watch.arm()
                        if (present := await self.read(prefix)) != seen:
                            seen = present
                            yield present
                        else:
                            await watch.wait()
            except (OSError, StoreError):
                await asyncio.sleep(0 if self._closed else _WATCH_RETRY_SECONDS)

    async def close(self) -> None:
        """End the watches and the thread. A call that the thread has begun runs to its end."""
        self._closed = True
        for watch in self._watches:
            watch.wake()
        self._thread.shutdown(wait=False)

    def _swap(self, key: str, value: bytes | None, expected: Version | None, deadline: float) -> Version:
        with self._snapshots.turn(min(self._call_timeout / 10, _LONGEST_QUEUE_SECONDS)):
            while True:
                present = self._snapshots.latest()
                current = present.entries.get(key)
                if (current.version if current else None) != expected:
                    raise Conflict(key)
                if time.monotonic() >= deadline:
                    raise StoreError(f"{self._snapshots.directory}: {self._call_timeout:g} s passed before the write")
                following, version = present.after(key, value)
                try:
                    self._snapshots.append(following)
                except FileExistsError:
                    continue  # a writer of another key was first
                return version

    async def _run(self, call: Callable[[], T]) -> T:
        """Run the call in the thread and return its result. Raises Conflict, StoreError."""
        if self._closed:
            raise StoreError(f"{self._snapshots.directory}: this store is closed")
        try:
            async with asyncio.timeout(self._call_timeout):
                return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except TimeoutError as error:
            raise StoreError(f"{self._snapshots.directory}: no answer within {self._call_timeout:g} s") from error
        except OSError as error:
            raise StoreError(f"{error.filename or self._snapshots.directory}: {error.strerror}") from error
