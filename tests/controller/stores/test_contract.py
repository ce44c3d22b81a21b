"""The tree's own stores keep the contracts that they are published with, and carry what the core writes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from controller.contracts import StoreContract, UnknownOutcomeContract, WatcherContract
from controller.core.records import BadRecord, Ownership, Session, SessionId, decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.contracts.stores import MakeStore
    from tests.lab.http.serving import Ailments
    from tests.lab.stores.backends import Backend
    from tests.lab.stores.fakes import Lab

KEY = "groups/web"


class TestStores(StoreContract):
    @pytest.fixture
    def make_store(self, unwatched_backend: Backend) -> MakeStore:
        return unwatched_backend.open


class TestWatchedStores(StoreContract, WatcherContract):
    @pytest.fixture
    def make_store(self, watched_backend: Backend) -> MakeStore:
        return watched_backend.open


class Faults:
    """See `controller.contracts.StoreFaults`."""

    def __init__(self, ailments: Ailments) -> None:
        self._ailments = ailments

    @contextmanager
    def losing_replies(self) -> Iterator[None]:
        self._ailments.losing = True
        try:
            yield
        finally:
            self._ailments.losing = False

    @contextmanager
    def stalling(self) -> Iterator[None]:
        self._ailments.slow_seconds = 5.0
        try:
            yield
        finally:
            self._ailments.slow_seconds = 0.0


class TestStoresOnAnAilingNetwork(UnknownOutcomeContract):
    @pytest.fixture
    def make_store(self, lab: Lab) -> MakeStore:
        return lab.backend.open

    @pytest.fixture
    def faults(self, lab: Lab) -> Faults:
        return Faults(lab.ailments)


async def test_a_record_survives_the_way_through_the_store(backend: Backend) -> None:
    store = backend.open()
    record = Ownership(session=SessionId("s1"), node="n1", epoch=3, seq=9, writer="w")
    await store.swap(KEY, encode(record), None)
    assert decode((await store.read(KEY))[KEY].value, Ownership) == record


async def test_what_is_no_record_is_handed_on_as_it_is_and_said_clearly(backend: Backend) -> None:
    store = backend.open()
    await store.swap("sessions/1", b"\xff not ours", None)
    entries = await store.read("")
    assert entries["sessions/1"].value == b"\xff not ours"
    with pytest.raises(BadRecord, match="not JSON"):
        decode(entries["sessions/1"].value, Session)
    await store.swap("sessions/1", encode(Session("n1")), entries["sessions/1"].version)
    assert decode((await store.read("sessions/"))["sessions/1"].value, Session) == Session("n1")
