"""Whether a server that calls itself compatible heeds conditions: one that ignores them lets two nodes be active."""

from __future__ import annotations

import secrets
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

from controller.stores.base import Conflict, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from controller.stores.base import Entry, Version
    from controller.stores.kit.objects import Bucket


class Proven:
    """A bucket to which nothing is written before it has refused what it must, unless `trusted` says that it does."""

    def __init__(self, bucket: Bucket, begin: str, trusted: Callable[[], bool]) -> None:
        """`begin`: how the names of objects begin that it is tried on. They are nobody's records and are not listed."""
        self._bucket = bucket
        self._begin = begin
        self._trusted = trusted
        self._turn = Lock()
        self._proven = False

    def listing(self, prefix: str) -> Mapping[str, Version]:
        """See `Bucket`."""
        found = self._bucket.listing(prefix).items()
        return {name: version for name, version in found if not name.startswith(self._begin)}

    def get(self, name: str) -> Entry | None:
        """See `Bucket`."""
        return self._bucket.get(name)

    def put(self, name: str, value: bytes, expected: Version | None) -> Version:
        """See `Bucket`."""
        self._prove_once()
        return self._bucket.put(name, value, expected)

    def delete(self, name: str, expected: Version) -> None:
        """See `Bucket`."""
        self._prove_once()
        self._bucket.delete(name, expected)

    def close(self) -> None:
        """See `Bucket`."""
        self._bucket.close()

    def _prove_once(self) -> None:
        with self._turn:
            if not self._proven:
                if not self._trusted():
                    _prove(self._bucket, f"{self._begin}{secrets.token_hex(8)}")
                self._proven = True


def _prove(bucket: Bucket, name: str) -> None:
    """Raises StoreError that says which condition is ignored. Leaves nothing behind, unless it is killed on the way."""
    stale = bucket.put(name, b"", None)
    present = bucket.put(name, b"", stale)
    refused: dict[str, Callable[[], object]] = {
        "If-None-Match of a write": partial(bucket.put, name, b"", None),
        "If-Match of a write": partial(bucket.put, name, b"", stale),
        "If-Match of a deletion": partial(bucket.delete, name, stale),
    }
    for condition, attempt in refused.items():
        try:
            attempt()
        except Conflict:
            continue
        raise StoreError(f"this server ignores {condition}: on such a store two nodes could be active")
    bucket.delete(name, present)
