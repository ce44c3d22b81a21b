"""Tests whether a server that claims compatibility heeds conditions. Two nodes can be active on one that does not."""

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
    """A bucket whose server must pass a test of its conditions before the first write, unless it is trusted."""

    def __init__(self, bucket: Bucket, begin: str, trusted: Callable[[], bool]) -> None:
        """`begin`: the prefix of the names of test objects, which hold no records and are not listed.

        `trusted` returns whether the server needs no test.
        """
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
    """Test each condition. Deletes its object when all are heeded.

    Raises StoreError that names the ignored condition.
    """
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
