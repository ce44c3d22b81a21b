"""The contract of a store for calls whose outcome is unknown: see `controller.stores.base.StoreError`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import pytest

from controller.contracts.rules import raises, rule
from controller.contracts.stores import KEY, OpensStores, OpenStore
from controller.stores.base import Conflict, StoreError

SHORT_SECONDS = 0.5  # the deadline of a call that must end within the test


class StoreFaults(Protocol):
    """The faults that an author can cause on the place of one test's stores."""

    def losing_replies(self) -> AbstractContextManager[object]:
        """Let writes take effect inside the context, while their senders get only an error."""

    def stalling(self) -> AbstractContextManager[object]:
        """Leave every request inside the context without an answer."""


@pytest.mark.asyncio
class UnknownOutcomeContract(OpensStores):
    """Subclass it, and give it the fixtures `make_store` (see `StoreContract`) and `faults`, which is `StoreFaults`."""

    @rule
    async def test_a_write_whose_reply_is_lost_is_unknown(self, open_store: OpenStore, faults: StoreFaults) -> None:
        """A write whose reply is lost must be a StoreError: a retry would turn a write that landed into a Conflict."""
        store = open_store()
        version = await store.swap(KEY, b"one", None)
        with faults.losing_replies(), raises(StoreError):
            await store.swap(KEY, b"two", version)

    @rule
    async def test_a_creation_whose_reply_is_lost_is_unknown(self, open_store: OpenStore, faults: StoreFaults) -> None:
        """A creation whose reply is lost must be a StoreError: a retry would turn one that landed into a Conflict."""
        store = open_store()
        await store.swap("groups/other", b"", None)
        with faults.losing_replies(), raises(StoreError):
            await store.swap(KEY, b"one", None)

    @rule
    async def test_a_deletion_whose_reply_is_lost_is_unknown(self, open_store: OpenStore, faults: StoreFaults) -> None:
        """A deletion whose reply is lost must be a StoreError: a retry would turn one that landed into a Conflict."""
        store = open_store()
        version = await store.swap(KEY, b"one", None)
        with faults.losing_replies(), raises(StoreError):
            await store.swap(KEY, None, version)

    @rule
    async def test_what_became_of_it_is_found_by_reading(self, open_store: OpenStore, faults: StoreFaults) -> None:
        """After an unknown outcome the store must work: a read must return the version that the next write replaces."""
        store = open_store()
        version = await store.swap(KEY, b"one", None)
        with faults.losing_replies(), raises(StoreError):
            await store.swap(KEY, b"two", version)
        entry = (await store.read(""))[KEY]
        assert (entry.value == b"one") == (entry.version == version)
        await store.swap(KEY, b"three", entry.version)
        with raises(Conflict):
            await store.swap(KEY, b"four", version)

    @rule
    async def test_no_answer_to_a_read_is_an_error(self, open_store: OpenStore, faults: StoreFaults) -> None:
        """A read without an answer must be a StoreError within its call_timeout, never an empty answer."""
        store, direct = open_store("shop", SHORT_SECONDS), open_store()
        await direct.swap(KEY, b"one", None)
        with faults.stalling(), raises(StoreError):
            await store.read("")

    @rule
    async def test_no_answer_to_a_write_is_an_error(self, open_store: OpenStore, faults: StoreFaults) -> None:
        """A write without an answer must be a StoreError within its call_timeout."""
        store, direct = open_store("shop", SHORT_SECONDS), open_store()
        version = await direct.swap(KEY, b"one", None)
        with faults.stalling(), raises(StoreError):
            await store.swap(KEY, b"two", version)
