"""A store in a sqlite file, for the daemons of one host."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from controller.stores.base import Conflict, Entry, StoreError, Version

T = TypeVar("T")

# The one row of `revision` only grows, and stays when keys are deleted: so no version ever comes back.
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS revision (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL);
INSERT OR IGNORE INTO revision VALUES (1, 0);
CREATE TABLE IF NOT EXISTS entries (
    cluster TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (cluster, key)
);
COMMIT;
"""


class SqliteStore:
    """One cluster's records in a sqlite file (`controller.stores.base.Store`)."""

    class Options(BaseModel):
        """Configuration keys of `store: {type: sqlite}`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        path: Path = Field(description="The file, on a local file system, the same for all daemons of the host.")

    def __init__(self, path: Path, cluster: str, call_timeout: float) -> None:
        """Touches nothing yet. `call_timeout` in seconds."""
        self._path = path
        self._cluster = cluster
        self._call_timeout = call_timeout
        self._thread = ThreadPoolExecutor(1, "sqlite-store")  # so a call that waits for the file holds up no other work
        self._connection: sqlite3.Connection | None = None  # the thread's

    @classmethod
    def open(cls, options: Options, *, cluster: str, call_timeout: float) -> Self:
        """The cluster's store, as the registry opens it."""
        return cls(options.path, cluster, call_timeout)

    async def read(self, prefix: str) -> Mapping[str, Entry]:
        """Every key that begins with prefix. Raises StoreError."""
        return await self._call(lambda: self._read(prefix))

    async def swap(self, key: str, value: bytes | None, expected: Version | None) -> Version:
        """Replace, create or delete, if the key is still at `expected`. Raises Conflict, StoreError."""
        return await self._call(lambda: self._swap(key, value, expected))

    async def close(self) -> None:
        """Close the file once the call under way, if there is one, has ended."""
        try:
            self._thread.submit(self._disconnect)
        except RuntimeError:
            return  # closed before
        self._thread.shutdown(wait=False)

    async def _call(self, call: Callable[[], T]) -> T:
        """Make the call once, and in time. What goes wrong is a StoreError: whether a write landed is not known."""
        try:
            async with asyncio.timeout(self._call_timeout):
                return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except TimeoutError as error:
            raise StoreError(f"{self._path}: no answer within {self._call_timeout:g} s") from error
        except (sqlite3.Error, OSError, RuntimeError) as error:  # RuntimeError: this store is closed
            raise StoreError(f"{self._path}: {error}") from error

    # --- in the thread ---

    def _read(self, prefix: str) -> Mapping[str, Entry]:
        with self._transaction("DEFERRED") as database:
            found = database.execute(
                "SELECT key, value, version FROM entries WHERE cluster = ? AND substr(key, 1, length(?)) = ?",
                (self._cluster, prefix, prefix),
            ).fetchall()
        return {key: Entry(value, Version(str(version))) for key, value, version in found}

    def _swap(self, key: str, value: bytes | None, expected: Version | None) -> Version:
        with self._transaction("IMMEDIATE") as database:
            place = (self._cluster, key)
            found = database.execute("SELECT version FROM entries WHERE cluster = ? AND key = ?", place).fetchall()
            current = str(found[0][0]) if found else None
            if current != expected:
                raise Conflict(key)
            revision = database.execute("UPDATE revision SET last = last + 1 RETURNING last").fetchall()[0][0]
            if value is None:
                database.execute("DELETE FROM entries WHERE cluster = ? AND key = ?", place)
            else:
                database.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", (*place, value, revision))
        return Version(str(revision))

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        """All or nothing. After an error of sqlite's, the next call connects anew."""
        try:
            database = self._connected()
            database.execute(f"BEGIN {kind}")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")
        except sqlite3.Error:
            self._disconnect()
            raise

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            # No isolation level: transactions begin and end here, where it is written down.
            self._connection = sqlite3.connect(self._path, timeout=self._call_timeout, isolation_level=None)
            self._connection.executescript(_SCHEMA)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
