"""What a store keeps when it does not hear what became of a call: see `controller.stores.base.StoreError`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import pytest

from controller.contracts.rules import raises, rule
from controller.contracts.stores import KEY, OpensStores, OpenStore
from controller.stores.base import Conflict, StoreError

SHORT_SECONDS = 0.5  # a call's deadline, where it must be over before a test ends


class StoreFaults(Protocol):
    """What an author can bring about on the place where the stores of one test are."""

    def losing_replies(self) -> AbstractContextManager[object]:
        """Within, writes take effect, and whoever asked for them hears nothing of it but an error."""

    def stalling(self) -> AbstractContextManager[object]:
        """Within, nothing that is asked is answered."""


@pytest.mark.asyncio
class UnknownOutcomeContract(OpensStores):
    """Subclass it, and give it the fixtures `make_store` (see `StoreContract`) and `faults`, which is `StoreFaults`."""

    @rule
    async def test_a_write_whose_reply_is_lost_is_unknown(self, open_store: OpenStore, faults: StoreFaults) -> None:
        """A write whose reply is lost must be a StoreError: a retry would turn what landed into a Conflict."""
        store = open_store()
        version = await store.swap(KEY, b"one", None)
        with faults.losing_replies(), raises(StoreError):
            await store.swap(KEY, b"two", version)

    @rule
    async def test_a_creation_whose_reply_is_lost_is_unknown(self, open_store: OpenStore, faults: StoreFaults) -> None:
        """A creation whose reply is lost must be a StoreError: a retry would turn what landed into a Conflict."""
        store = open_store()
        await store.swap("groups/other", b"", None)
        with faults.losing_replies(), raises(StoreError):
            await store.swap(KEY, b"one", None)

    @rule
    async def test_a_deletion_whose_reply_is_lost_is_unknown(self, open_store: OpenStore, faults: StoreFaults) -> None:
        """A deletion whose reply is lost must be a StoreError: a retry would turn what landed into a Conflict."""
        store = open_store()
        version = await store.swap(KEY, b"one", None)
        with faults.losing_replies(), raises(StoreError):
            await store.swap(KEY, None, version)

    @rule
    async def test_what_became_of_it_is_found_by_reading(self, open_store: OpenStore, faults: StoreFaults) -> None:
        """After an unknown outcome the store must go on: what is read then is what the next write is compared with."""
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
        """A read that is not answered must be a StoreError within its call_timeout, never an empty answer."""
        store, direct = open_store("shop", SHORT_SECONDS), open_store()
        await direct.swap(KEY, b"one", None)
        with faults.stalling(), raises(StoreError):
            await store.read("")

    @rule
    async def test_no_answer_to_a_write_is_an_error(self, open_store: OpenStore, faults: StoreFaults) -> None:
        """A write that is not answered must be a StoreError within its call_timeout."""
        store, direct = open_store("shop", SHORT_SECONDS), open_store()
        version = await direct.swap(KEY, b"one", None)
        with faults.stalling(), raises(StoreError):
            await store.swap(KEY, b"two", version)
