"""Nothing is written to a bucket that ignores a condition: each of the three is tried by itself."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

import pytest

from controller.stores.base import Conflict, Entry, StoreError, Version
from controller.stores.kit.proof import Proven


class Memory:
    """A bucket in memory that ignores these conditions."""

    def __init__(self, *ignored: str) -> None:
        self.objects: dict[str, Entry] = {}
        self._ignored = ignored
        self._versions = count(1)

    def listing(self, prefix: str) -> Mapping[str, Version]:
        return {name: entry.version for name, entry in self.objects.items() if name.startswith(prefix)}

    def get(self, name: str) -> Entry | None:
        return self.objects.get(name)

    def put(self, name: str, value: bytes, expected: Version | None) -> Version:
        self._check("If-None-Match of a write" if expected is None else "If-Match of a write", name, expected)
        self.objects[name] = Entry(value, Version(str(next(self._versions))))
        return self.objects[name].version

    def delete(self, name: str, expected: Version) -> None:
        self._check("If-Match of a deletion", name, expected)
        self.objects.pop(name, None)

    def close(self) -> None:
        """Nothing to close."""

    def _check(self, condition: str, name: str, expected: Version | None) -> None:
        there = self.objects.get(name)
        if condition not in self._ignored and (there and there.version) != expected:
            raise Conflict(name)


@pytest.mark.parametrize("ignored", ["If-None-Match of a write", "If-Match of a write", "If-Match of a deletion"])
def test_a_bucket_that_ignores_one_condition_is_not_written_to(ignored: str) -> None:
    bucket = Memory(ignored)
    proven = Proven(bucket, "proof-", lambda: False)
    with pytest.raises(StoreError, match=f"this server ignores {ignored}: "):
        proven.put("groups/web", b"ours", None)
    assert proven.listing("") == {}


def test_a_bucket_that_heeds_all_three_keeps_nothing_of_the_proof() -> None:
    bucket = Memory()
    version = Proven(bucket, "proof-", lambda: False).put("groups/web", b"ours", None)
    assert bucket.objects == {"groups/web": Entry(b"ours", version)}
