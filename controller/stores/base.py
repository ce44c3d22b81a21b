"""Defines what a store must do: keep one compare-and-swap register per key. Pure.

A store needs no other module of this project. Its tests need `controller.contracts`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, NewType, Protocol, runtime_checkable

from health.errors import AnyvipError

Version = NewType("Version", str)


@dataclass(frozen=True, slots=True)
class Entry:
    """One value in the store, with the version that `Store.swap` must name to replace it."""

    value: bytes
    version: Version


class StoreError(AnyvipError):
    """The store gave no answer, or one that is not understood. A write may have landed, may land later, or never."""


class Conflict(AnyvipError):  # noqa: N818  (an answer, not a failure: the write certainly did not land)
    """The key is not at the expected version. This request wrote nothing."""


class Store(Protocol):
    """One linearizable compare-and-swap register per key. Nothing more is required."""

    async def read(self, prefix: str) -> Mapping[str, Entry]:
        """Return every key that begins with prefix, each as it is at some moment after the call. Raises StoreError."""

    async def swap(self, key: str, value: bytes | None, expected: Version | None) -> Version:
        """Replace the value if the key is still at `expected`, and return the new version.

        A value of None deletes; `expected` of None creates. Raises Conflict, or StoreError when the outcome is not
        known. An implementation never retries such a write: the retry of a write that landed would raise a Conflict.
        """

    async def close(self) -> None:
        """Release connections and descriptors. Raises nothing."""


# Optional abilities of a store. Each is a Protocol of its own, and the controller asks with isinstance.


@runtime_checkable
class Watcher(Protocol):
    """A store that can give hints. The election is correct without them, only slower."""

    def changes(self, prefix: str) -> AsyncIterator[Mapping[str, Entry]]:
        """Yield when anything under prefix may have changed. The mapping has the entries that are known, or is empty.

        The entries may be outdated or repeated. A deleted key is left out. Reconnects by itself, and ends only when
        the store is closed.
        """


class Credential(NamedTuple):
    """A certificate or a token with which a store is reached. `name`: its file. Times are Unix times in seconds."""

    name: str
    begins_at: float
    ends_at: float

    def ends_soon(self, now: float) -> bool:
        """Return whether less than a tenth of its life is left, when programs that replace it have done so."""
        return self.ends_at - now < (self.ends_at - self.begins_at) / 10


@runtime_checkable
class Credentialed(Protocol):
    """A store that is reached with credentials that end."""

    def credentials(self) -> Sequence[Credential]:
        """Return those that end, as their files have them now. Reads files, so call it in a thread. Raises nothing."""


@runtime_checkable
class Paced(Protocol):
    """A store whose service limits writes of one key. Its class states the limit, for checks of the configuration."""

    LEAST_WRITE_PAUSE_SECONDS: ClassVar[float]  # between two writes of one key; shorter retry periods are refused
