"""What every store promises, whatever it is made of: see `controller.stores.base.Store` and `Watcher`."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from controller.core.records import BadRecord, Ownership, Session, SessionId, decode, encode
from controller.stores.base import Conflict, Entry, Version
from tests.lab.stores.backends import Hints, watching

if TYPE_CHECKING:
    from tests.lab.stores.backends import Backend

KEY = "groups/web"


async def test_what_is_created_is_read_with_its_version(backend: Backend) -> None:
    store = backend.open()
    version = await store.swap(KEY, b"one", None)
    assert await store.read("") == {KEY: Entry(b"one", version)}


async def test_another_store_reads_a_write_that_was_confirmed(backend: Backend) -> None:
    writer, reader = backend.open(), backend.open()
    version: Version | None = None
    for number in range(20):
        version = await writer.swap(KEY, str(number).encode(), version)
        assert await reader.read("") == {KEY: Entry(str(number).encode(), version)}


async def test_an_empty_store_is_read_as_empty(backend: Backend) -> None:
    assert await backend.open().read("") == {}


async def test_creating_what_exists_conflicts_and_changes_nothing(backend: Backend) -> None:
    store = backend.open()
    version = await store.swap(KEY, b"one", None)
    with pytest.raises(Conflict):
        await store.swap(KEY, b"two", None)
    assert await store.read("") == {KEY: Entry(b"one", version)}


async def test_a_swap_replaces_only_at_the_expected_version(backend: Backend) -> None:
    store = backend.open()
    first = await store.swap(KEY, b"one", None)
    second = await store.swap(KEY, b"two", first)
    with pytest.raises(Conflict):
        await store.swap(KEY, b"three", first)
    assert await store.read("") == {KEY: Entry(b"two", second)}


async def test_a_missing_key_is_at_no_version(backend: Backend) -> None:
    store = backend.open()
    version = await store.swap(KEY, b"one", None)
    with pytest.raises(Conflict):
        await store.swap("groups/other", b"one", version)
    assert set(await store.read("")) == {KEY}


async def test_a_delete_needs_the_expected_version(backend: Backend) -> None:
    store = backend.open()
    first = await store.swap(KEY, b"one", None)
    second = await store.swap(KEY, b"two", first)
    with pytest.raises(Conflict):
        await store.swap(KEY, None, first)
    assert set(await store.read("")) == {KEY}
    await store.swap(KEY, None, second)
    assert await store.read("") == {}
    with pytest.raises(Conflict):
        await store.swap(KEY, None, second)


async def test_a_version_never_comes_back_not_even_for_the_same_bytes(backend: Backend) -> None:
    store = backend.open()
    seen: list[Version] = []
    for _ in range(10):
        created = await store.swap(KEY, b"same", None)
        swapped = await store.swap(KEY, b"same", created)
        await store.swap(KEY, None, swapped)
        seen += [created, swapped]
    assert len(set(seen)) == len(seen)


async def test_a_version_from_before_a_deletion_is_of_no_use_after_it(backend: Backend) -> None:
    store = backend.open()
    first = await store.swap(KEY, b"same", None)
    await store.swap(KEY, None, first)
    await store.swap(KEY, b"same", None)
    with pytest.raises(Conflict):
        await store.swap(KEY, b"late", first)


async def test_a_prefix_selects_keys_by_their_begin(backend: Backend) -> None:
    store = backend.open()
    keys = {"cluster", "groups/web", "groups/web2", "groupsx", "sessions/1"}
    for key in keys:
        await store.swap(key, key.encode(), None)
    assert {key: entry.value.decode() for key, entry in (await store.read("")).items()} == {key: key for key in keys}
    assert set(await store.read("groups/")) == {"groups/web", "groups/web2"}
    assert set(await store.read("groups/web")) == {"groups/web", "groups/web2"}
    assert set(await store.read("nothing")) == set()


@pytest.mark.parametrize("other", ["shop2", "sho", "shop/groups", "shop/", "../shop", "..", "SHOP", "shöp"])
async def test_clusters_do_not_see_each_other(backend: Backend, other: str) -> None:
    ours, theirs = backend.open("shop"), backend.open(other)
    await ours.swap(KEY, b"ours", None)
    await theirs.swap(KEY, b"theirs", None)
    assert [entry.value for entry in (await ours.read("")).values()] == [b"ours"]
    assert [entry.value for entry in (await theirs.read("")).values()] == [b"theirs"]


@pytest.mark.parametrize(
    "value", [b"", b"\n", b"\x00\xff\n\xfe", b"x" * 100_000], ids=["empty", "line", "bytes", "100 KB"]
)
async def test_values_are_bytes(backend: Backend, value: bytes) -> None:
    store = backend.open()
    await store.swap("groups/before", b"b", None)
    version = await store.swap(KEY, value, None)
    await store.swap("groups/zz", b"z", None)
    assert (await backend.open().read(KEY)) == {KEY: Entry(value, version)}


async def test_keys_are_any_text(backend: Backend) -> None:
    store = backend.open()
    keys = {"groups/wéb", "groups/a b", "groups/a/b", 'groups/"', "groups/..", "groups/\u4e2d"}
    for key in keys:
        await store.swap(key, b"", None)
    assert set(await store.read("groups/")) == keys


async def test_of_many_who_create_at_once_one_wins(backend: Backend) -> None:
    stores = [backend.open() for _ in range(4)]
    outcomes = await asyncio.gather(
        *(store.swap(KEY, str(n).encode(), None) for n, store in enumerate(stores * 5)),
        return_exceptions=True,
    )
    won = [(n, outcome) for n, outcome in enumerate(outcomes) if isinstance(outcome, str)]
    assert len(won) == 1
    assert all(isinstance(outcome, Conflict) for n, outcome in enumerate(outcomes) if n != won[0][0])
    assert await stores[0].read("") == {KEY: Entry(str(won[0][0]).encode(), Version(won[0][1]))}


async def test_writers_of_different_keys_do_not_conflict(backend: Backend) -> None:
    stores = [backend.open() for _ in range(8)]
    await asyncio.gather(*(store.swap(f"groups/{n}", b"", None) for n, store in enumerate(stores)))
    assert set(await stores[0].read("")) == {f"groups/{n}" for n in range(8)}


async def test_any_sequence_of_swaps_does_what_a_register_does(backend: Backend) -> None:
    chance = random.Random(7)
    stores = [backend.open() for _ in range(3)]
    model: dict[str, Entry] = {}
    versions: list[Version | None] = [None]
    for number in range(120):
        key = f"groups/{chance.randrange(3)}"
        current = model[key].version if key in model else None
        expected = current if chance.random() < 0.6 else chance.choice(versions)
        value = None if chance.random() < 0.2 and expected else str(number).encode()
        store = chance.choice(stores)
        if expected != current:
            with pytest.raises(Conflict):
                await store.swap(key, value, expected)
        else:
            version = await store.swap(key, value, expected)
            assert version not in versions
            versions.append(version)
            model.pop(key, None)
            if value is not None:
                model[key] = Entry(value, version)
        assert await chance.choice(stores).read("") == model


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


async def test_a_store_goes_on_after_a_call_was_cancelled(backend: Backend) -> None:
    store = backend.open()
    for number in range(10):
        call = asyncio.create_task(store.swap(f"groups/{number}", b"", None))
        await asyncio.sleep(0.0005 * number)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    version = await store.swap("cluster", b"after", None)
    assert (await store.read("cluster"))["cluster"] == Entry(b"after", version)


# --- watch -------------------------------------------------------------------------------------------------------


async def test_a_watch_hints_at_the_start_and_at_each_kind_of_change(watched_backend: Backend) -> None:
    store, other = watched_backend.open(), watched_backend.open()
    async with watching(store, "groups/") as hints:
        await hints.next()
        created = await other.swap(KEY, b"one", None)
        await hints.next()
        assert set(await store.read("groups/")) == {KEY}
        swapped = await other.swap(KEY, b"two", created)
        await hints.next()
        await other.swap(KEY, None, swapped)
        await hints.next()
        assert await store.read("groups/") == {}


async def test_a_watch_tells_what_a_read_would(watched_backend: Backend) -> None:
    store = watched_backend.open()
    large = b"x" * 200_000  # longer than any buffer on the way
    async with watching(store, "groups/") as hints:
        await hints.next()
        await store.swap("groups/web", b"one", None)
        await store.swap("groups/large", large, None)
        expected = await store.read("groups/")
        while hints.told != expected:
            await hints.next()


async def test_a_watch_of_one_prefix_is_quiet_while_another_changes(watched_backend: Backend) -> None:
    store, other = watched_backend.open(), watched_backend.open()
    async with watching(store, "groups/") as hints:
        await hints.next()
        version: Version | None = None
        for number in range(10):
            version = await other.swap("sessions/1", str(number).encode(), version)
        await asyncio.sleep(0.2)
        assert not hints.waiting


async def test_several_watches_of_one_store_all_hint(watched_backend: Backend) -> None:
    store = watched_backend.open()
    async with watching(store, "groups/") as one, watching(store, "groups/") as two, watching(store, "") as three:
        for hints in (one, two, three):
            await hints.next()
        await store.swap(KEY, b"", None)
        for hints in (one, two, three):
            await hints.next()


async def test_closing_ends_the_watches_and_may_be_done_twice(watched_backend: Backend) -> None:
    store = watched_backend.open()
    hints = Hints()
    watch = asyncio.create_task(hints.collect(store.changes("")))
    await hints.next()
    await store.close()
    async with asyncio.timeout(20):
        await watch
    await store.close()
