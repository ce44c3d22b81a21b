"""What a store must do: a compare-and-swap register per key. All that the author of a store needs. Pure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, NewType, Protocol, runtime_checkable

Version = NewType("Version", str)


@dataclass(frozen=True, slots=True)
class Entry:
    """One value in the store, with the version that a `Store.swap` must name to replace it."""

    value: bytes
    version: Version


class StoreError(Exception):
    """The store did not answer, or not intelligibly. A write may have landed, may land later, or never."""


class Conflict(Exception):  # noqa: N818  (an answer, not a failure: the write is known not to have landed)
    """The key is not at the expected version; nothing was written by this request."""


class Store(Protocol):
    """A compare-and-swap register per key. Linearizable; nothing else is asked of it."""

    async def read(self, prefix: str) -> Mapping[str, Entry]:
        """Every key that begins with prefix, each as of some moment after the call. Raises StoreError."""

    async def swap(self, key: str, value: bytes | None, expected: Version | None) -> Version:
        """Replace the value if the key is still at `expected`.

        A value of None deletes; `expected` of None creates. Raises Conflict, or StoreError where the outcome
        is not known. Never retries by itself: a retry turns a write that landed into a Conflict.
        """

    async def close(self) -> None:
        """Give back connections and descriptors. Raises nothing."""


# What a store may be able to do besides: each is a Protocol of its own, and the controller asks with isinstance.


@runtime_checkable
class Watcher(Protocol):
    """A store that can say "look now". A hint, never a fact: the election is right without it, only slower."""

    def changes(self, prefix: str) -> AsyncIterator[Mapping[str, Entry]]:
        """Yield after anything under prefix may have changed, with what is known of it: some keys, or none.

        What is yielded may be old by then, or repeated; a key that is gone is left out. Reconnects by itself; ends only
        when closed.
        """


@runtime_checkable
class Paced(Protocol):
    """A store whose service takes few writes of one key. Its class says so: the configuration is checked before."""

    LEAST_WRITE_PAUSE_SECONDS: ClassVar[float]  # between two writes of one key; shorter retry periods are refused
