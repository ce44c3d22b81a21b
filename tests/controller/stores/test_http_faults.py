"""The stores over HTTP where things go wrong: lost replies, throttling, partitions, wrong clocks, wiped data."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from controller.contracts.watch import watching
from controller.stores.base import Conflict, Entry, StoreError
from controller.stores.registry import store_type
from tests.lab.http.bad_network import answering, dark_endpoint, proxy_to
from tests.lab.stores.backends import eventually, says, warmed_up
from tests.lab.stores.fakes import FAKES, SECRET, Lab

if TYPE_CHECKING:
    from collections.abc import Iterator


KEY = "groups/web"


@pytest.fixture(autouse=True)
def secret_is_not_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever goes wrong."""
    caplog.set_level(logging.DEBUG)
    yield
    for when in ("setup", "call", "teardown"):
        for record in caplog.get_records(when):
            assert SECRET not in record.getMessage()
            assert SECRET not in str(record.__dict__)


# --- unknown outcomes ------------------------------------------------------------------------------------------------


async def test_a_write_whose_reply_is_lost_is_unknown_and_not_tried_again(lab: Lab) -> None:
    store = lab.backend.open()
    version = await store.swap(KEY, b"one", None)
    before = sum(lab.ailments.asked.values())
    lab.ailments.losing = True
    with pytest.raises(StoreError) as error:
        await store.swap(KEY, b"two", version)
    assert SECRET not in str(error.value)
    assert sum(lab.ailments.asked.values()) == before + 1
    lab.ailments.losing = False
    entry = (await store.read(""))[KEY]
    assert entry.value == b"two"
    assert entry.version != version
    with pytest.raises(Conflict):
        await store.swap(KEY, b"three", version)


async def test_a_creation_whose_reply_is_lost_is_unknown_and_there(lab: Lab) -> None:
    store = lab.backend.open()
    await store.swap("groups/other", b"", None)
    lab.ailments.losing = True
    with pytest.raises(StoreError):
        await store.swap(KEY, b"one", None)
    lab.ailments.losing = False
    with pytest.raises(Conflict):
        await store.swap(KEY, b"two", None)


async def test_a_deletion_whose_reply_is_lost_is_unknown_and_done(lab: Lab) -> None:
    store = lab.backend.open()
    version = await store.swap(KEY, b"one", None)
    lab.ailments.losing = True
    with pytest.raises(StoreError):
        await store.swap(KEY, None, version)
    lab.ailments.losing = False
    assert await store.read("") == {}


async def test_a_read_whose_reply_is_lost_is_asked_again(lab: Lab) -> None:
    store = lab.backend.open()
    version = await store.swap(KEY, b"one", None)
    lab.ailments.losing = True
    reading = asyncio.create_task(store.read(""))
    before = sum(lab.ailments.asked.values())
    await eventually(lambda: asyncio.sleep(0, sum(lab.ailments.asked.values()) > before + 1))
    lab.ailments.losing = False
    assert await reading == {KEY: Entry(b"one", version)}


async def test_a_slow_answer_ends_with_the_deadline_and_may_have_landed(lab: Lab) -> None:
    direct, store = lab.backend.open(), lab.backend.open(call_timeout=0.4)
    version = await warmed_up(store, direct, KEY)
    lab.ailments.slow_seconds = 1.0
    for call in (lambda: store.swap(KEY, b"two", version), lambda: store.read("")):
        with pytest.raises(StoreError, match=r"no answer within 0\.4 s"):
            await call()
    lab.ailments.slow_seconds = 0.0
    assert (await direct.read(""))[KEY].value in {b"one", b"two"}


async def test_a_late_write_lands_on_its_version_or_not_at_all(lab: Lab) -> None:
    direct = lab.backend.open()
    async with proxy_to(lab.endpoint) as proxy:
        store = lab.backend.open(call_timeout=1.0, **lab.options(proxy.endpoint))
        version = await warmed_up(store, direct, KEY)
        proxy.letting_through.clear()
        with pytest.raises(StoreError, match=r"no answer within 1 s"):
            await store.swap(KEY, b"late", version)
        overwritten = await direct.swap(KEY, b"overwritten", version)
        proxy.letting_through.set()
        await store.close()
        await proxy.settled()
        assert await direct.read("") == {KEY: Entry(b"overwritten", overwritten)}


async def test_a_partition_ends_and_everything_goes_on(lab: Lab) -> None:
    async with proxy_to(lab.endpoint) as proxy:
        store = lab.backend.open(call_timeout=1.0, **lab.options(proxy.endpoint))
        version = await warmed_up(store, lab.backend.open(), KEY)
        proxy.letting_through.clear()
        with pytest.raises(StoreError):
            await store.read("")
        proxy.letting_through.set()
        assert await eventually(lambda: store.read(""), StoreError) == {KEY: Entry(b"one", version)}
        await store.close()


# --- refusals --------------------------------------------------------------------------------------------------------


async def test_what_is_throttled_was_not_done_and_is_asked_again(lab: Lab) -> None:
    store = lab.backend.open()
    lab.ailments.refusing = 2
    version = await store.swap(KEY, b"one", None)
    assert lab.ailments.refusing == 0
    lab.ailments.refusing = 2
    assert await store.read("") == {KEY: Entry(b"one", version)}


async def test_throttled_for_ever_is_said_at_the_deadline(lab: Lab) -> None:
    direct, store = lab.backend.open(), lab.backend.open(call_timeout=0.6)
    version = await warmed_up(store, direct, KEY)
    lab.ailments.refusing = 10_000
    attempts = 0
    for call in (lambda: store.swap(KEY, b"two", version), lambda: store.read("")):
        said = False
        while not said:
            attempts += 1
            said = await says(call(), lab.throttled)
    assert 10_000 - lab.ailments.refusing < 10 * attempts, "it asks again, but not as fast as it can"
    lab.ailments.refusing = 0
    assert await direct.read("") == {KEY: Entry(b"one", version)}


async def test_a_port_that_refuses_is_waited_for_until_the_deadline(lab: Lab) -> None:
    store = lab.backend.open(call_timeout=0.4, **lab.options("http://127.0.0.1:9"))
    said = r"(?i)127\.0\.0\.1.*(connection refused|could not connect)|could not connect.*127\.0\.0\.1:9"
    await eventually(lambda: says(store.swap(KEY, b"one", None), said))
    await eventually(lambda: says(store.read(""), said))


async def test_a_dark_host_costs_the_deadline_and_no_more(lab: Lab) -> None:
    async with dark_endpoint() as dark:
        store = lab.backend.open(call_timeout=0.6, **lab.options(dark))
        with pytest.raises(StoreError, match=rf"{dark}|no answer within|timed out"):
            await store.read("")


ANSWERS = [
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found",
    b"HTTP/1.1 409 Conflict\r\nContent-Length: 9\r\n\r\nnot found",
    b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 9\r\n\r\nnot found",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nX-Consul-Index: 4\r\nContent-Length: 99999\r\n\r\n" + b"[" * 99_999,
    b'HTTP/1.1 200 OK\r\nX-Consul-Index: 4\r\nContent-Length: 9\r\n\r\n[{"a":1}]',
    b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"items":[7]}',
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"",
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda value: str(value)[:70])
async def test_what_is_something_else_is_a_store_error_and_never_an_answer(answer: bytes, lab: Lab) -> None:
    async with answering(answer) as endpoint:
        reading, writing = (lab.backend.open(call_timeout=0.3, **lab.options(endpoint)) for _ in range(2))
        outcomes = await asyncio.gather(reading.read(""), writing.swap(KEY, b"", None), return_exceptions=True)
        for outcome in outcomes:
            assert isinstance(outcome, StoreError), outcome
            assert SECRET not in str(outcome)


# --- clocks and data -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [-86_400.0, 86_400.0], ids=["a day behind", "a day ahead"])
async def test_a_server_whose_clock_is_wrong_is_no_matter(lab: Lab, ahead: float) -> None:
    store = lab.backend.open()
    version = await store.swap(KEY, b"one", None)
    lab.ailments.ahead_seconds = ahead
    version = await store.swap(KEY, b"two", version)
    assert await store.read("") == {KEY: Entry(b"two", version)}


async def test_data_that_is_deleted_and_made_again_takes_no_old_version(lab: Lab) -> None:
    store = lab.backend.open()
    first = await store.swap(KEY, b"one", None)
    second = await store.swap(KEY, b"two", first)
    await store.read("")
    lab.wipe()
    assert await store.read("") == {}
    with pytest.raises(Conflict):
        await store.swap(KEY, b"three", second)
    again = await store.swap(KEY, b"one", None)
    assert await store.read("") == {KEY: Entry(b"one", again)}
    with pytest.raises(Conflict):
        await store.swap(KEY, None, second)


@pytest.mark.parametrize("kind", [kind for kind in sorted(FAKES) if hasattr(store_type(kind), "changes")])
async def test_a_watch_outlives_a_wipe(lab: Lab) -> None:
    store, other = lab.backend.open(), lab.backend.open()
    for number in range(5):
        await other.swap(f"groups/{number}", b"", None)
    async with watching(store, "groups/") as hints:
        await hints.next()
        await eventually(lambda: asyncio.sleep(0, lab.ailments.asked["GET"] == 2))  # it waits at the server again
        lab.wipe()
        await hints.next()
        await other.swap(KEY, b"new", None)
        while KEY not in hints.told:
            await hints.next()


# --- cost ------------------------------------------------------------------------------------------------------------


async def test_a_round_takes_as_many_requests_whatever_the_number_of_groups(lab: Lab) -> None:
    store = lab.backend.open()
    version = await store.swap("sessions/1", b"0", None)
    for number in range(50):
        await store.swap(f"groups/{number}", b"{}", None)
    assert len(await store.read("")) == 51
    before = sum(lab.ailments.asked.values())
    await asyncio.gather(store.swap("sessions/1", b"1", version), store.read(""))
    assert before + 2 <= sum(lab.ailments.asked.values()) <= before + lab.requests


async def test_a_closed_store_says_so(lab: Lab) -> None:
    store = lab.backend.open()
    await store.read("")
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.read("")


def test_a_secret_does_not_show(kind: str, lab: Lab) -> None:
    store = lab.backend.open()
    assert SECRET not in repr(store)
    assert SECRET not in repr(vars(store))
