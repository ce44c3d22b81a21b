"""The contract of every store, on any service: see `controller.stores.base.Store`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import pytest
import pytest_asyncio

from controller.contracts.rules import raises, rule
from controller.stores.base import Conflict, Entry, Store, Version, Watcher

KEY = "groups/web"
CALL_SECONDS = 20.0

MakeStore = Callable[[str, float], Store]
"""The author's `make_store(cluster, call_timeout)`. All stores of one test use the same place."""


class OpenStore(Protocol):
    """Opens one more store on the place of this test. The contract closes it."""

    def __call__(self, cluster: str = "shop", call_timeout: float = CALL_SECONDS) -> Store:
        """`call_timeout` in seconds."""


class OpensStores:
    """The fixture that the contracts of stores share."""

    @pytest_asyncio.fixture
    async def open_store(self, make_store: MakeStore) -> AsyncIterator[OpenStore]:
        """Open stores, and close them at the end."""
        opened: list[Store] = []

        def open_store(cluster: str = "shop", call_timeout: float = CALL_SECONDS) -> Store:
            opened.append(make_store(cluster, call_timeout))
            return opened[-1]

        yield open_store
        for store in opened:
            await store.close()


@pytest.mark.asyncio
class StoreContract(OpensStores):
    """Subclass it, and give it the fixture `make_store`, which returns `MakeStore` on an empty place.

    A store that is a `Watcher` also keeps `WatcherContract`. Where the author can cause faults, the store also keeps
    `UnknownOutcomeContract`.
    """

    # --- reading

    @rule
    async def test_an_empty_store_is_read_as_empty(self, open_store: OpenStore) -> None:
        """Reading an empty store must return no keys, and no error."""
        assert dict(await open_store().read("")) == {}

    @rule
    async def test_what_is_created_is_read_with_its_version(self, open_store: OpenStore) -> None:
        """A read must return a confirmed write, with the version that swap returned."""
        store = open_store()
        version = await store.swap(KEY, b"one", None)
        assert await store.read("") == {KEY: Entry(b"one", version)}

    @rule
    async def test_another_store_reads_a_write_that_was_confirmed(self, open_store: OpenStore) -> None:
        """A store must be linearizable: once a write is confirmed to one node, every node must read it."""
        writer, reader = open_store(), open_store()
        version: Version | None = None
        for number in range(20):
            version = await writer.swap(KEY, str(number).encode(), version)
            assert await reader.read("") == {KEY: Entry(str(number).encode(), version)}

    @rule
    async def test_a_prefix_selects_keys_by_how_they_begin(self, open_store: OpenStore) -> None:
        """Listing by prefix must give every key that begins with the prefix, and no other one."""
        store = open_store()
        beside = {"groups/w_b", "groups/w.b", "groups/WEB"}
        keys = {"cluster", "groups/web", "groups/web2", *beside, "groupsx", "sessions/1"}
        for key in keys:
            await store.swap(key, key.encode(), None)
        assert {key: entry.value.decode() for key, entry in (await store.read("")).items()} == {k: k for k in keys}
        assert set(await store.read("groups/")) == {"groups/web", "groups/web2", *beside}
        assert set(await store.read("groups/web")) == {"groups/web", "groups/web2"}
        assert set(await store.read("groups/w_")) == {"groups/w_b"}
        assert set(await store.read("groups/w.")) == {"groups/w.b"}
        assert set(await store.read("groups/W")) == {"groups/WEB"}
        assert set(await store.read("nothing")) == set()

    @pytest.mark.parametrize("other", ["shop2", "sho", "shop/groups", "shop/", "../shop", "..", "SHOP", "shöp", "sh_p"])
    @rule
    async def test_clusters_do_not_see_each_other(self, open_store: OpenStore, other: str) -> None:
        """A store must read and write the keys of its own cluster only."""
        ours, theirs = open_store("shop"), open_store(other)
        await ours.swap(KEY, b"ours", None)
        await theirs.swap(KEY, b"theirs", None)
        assert [entry.value for entry in (await ours.read("")).values()] == [b"ours"]
        assert [entry.value for entry in (await theirs.read("")).values()] == [b"theirs"]

    @pytest.mark.parametrize(
        "value", [b"", b"\n", b"\x00\xff\n\xfe", b"x" * 100_000], ids=["empty", "line", "bytes", "100 KB"]
    )
    @rule
    async def test_values_are_bytes(self, open_store: OpenStore, value: bytes) -> None:
        """A read must return exactly the bytes that were written, whatever they are."""
        store = open_store()
        await store.swap("groups/before", b"b", None)
        version = await store.swap(KEY, value, None)
        await store.swap("groups/zz", b"z", None)
        assert await open_store().read(KEY) == {KEY: Entry(value, version)}

    @rule
    async def test_keys_are_any_text(self, open_store: OpenStore) -> None:
        """A read must return exactly the keys that were written, whatever characters they have."""
        store = open_store()
        odd = ("wéb", "a b", "a/b", '"', "..", "中", "%2F", "*")
        keys = {f"groups/{each}" for each in odd}
        for key in keys:
            await store.swap(key, b"", None)
        assert set(await store.read("groups/")) == keys

    # --- writing

    @rule
    async def test_creating_what_exists_conflicts(self, open_store: OpenStore) -> None:
        """A create never overwrites: with an expected version of None, a key that exists is a Conflict and stays."""
        store = open_store()
        version = await store.swap(KEY, b"one", None)
        with raises(Conflict):
            await store.swap(KEY, b"two", None)
        assert await store.read("") == {KEY: Entry(b"one", version)}

    @rule
    async def test_a_swap_replaces_at_the_expected_version_only(self, open_store: OpenStore) -> None:
        """A swap must replace the expected version only: at another version it is a Conflict and writes nothing."""
        store = open_store()
        first = await store.swap(KEY, b"one", None)
        second = await store.swap(KEY, b"two", first)
        with raises(Conflict):
            await store.swap(KEY, b"three", first)
        assert await store.read("") == {KEY: Entry(b"two", second)}

    @rule
    async def test_a_missing_key_is_at_no_version(self, open_store: OpenStore) -> None:
        """A key that does not exist has no version: a swap that expects one is a Conflict and creates nothing."""
        store = open_store()
        version = await store.swap(KEY, b"one", None)
        with raises(Conflict):
            await store.swap("groups/other", b"one", version)
        assert set(await store.read("")) == {KEY}

    @rule
    async def test_a_delete_needs_the_expected_version(self, open_store: OpenStore) -> None:
        """A delete must remove the key at the expected version only: at another version it is a Conflict."""
        store = open_store()
        first = await store.swap(KEY, b"one", None)
        second = await store.swap(KEY, b"two", first)
        with raises(Conflict):
            await store.swap(KEY, None, first)
        assert set(await store.read("")) == {KEY}
        await store.swap(KEY, None, second)
        assert dict(await store.read("")) == {}
        with raises(Conflict):
            await store.swap(KEY, None, second)

    @rule
    async def test_no_version_ever_comes_back(self, open_store: OpenStore) -> None:
        """No version ever comes back: not for the same bytes, and not after the key was deleted."""
        store = open_store()
        seen: list[Version] = []
        for _ in range(10):
            created = await store.swap(KEY, b"same", None)
            swapped = await store.swap(KEY, b"same", created)
            await store.swap(KEY, None, swapped)
            seen += [created, swapped]
        assert len(set(seen)) == len(seen)

    @rule
    async def test_a_version_from_before_a_deletion_is_of_no_use(self, open_store: OpenStore) -> None:
        """No version ever comes back: one from before a deletion is a Conflict after the key was created again."""
        store = open_store()
        first = await store.swap(KEY, b"same", None)
        await store.swap(KEY, None, first)
        await store.swap(KEY, b"same", None)
        with raises(Conflict):
            await store.swap(KEY, b"late", first)

    # --- races

    @rule
    async def test_of_many_who_create_at_once_one_wins(self, open_store: OpenStore) -> None:
        """Of many writers that create a key at the same time, one must win and all others must get a Conflict."""
        await _race(open_store, None)

    @rule
    async def test_of_many_who_replace_at_once_one_wins(self, open_store: OpenStore) -> None:
        """Of many writers that replace a version at the same time, one must win and all others must get a Conflict."""
        await _race(open_store, await open_store().swap(KEY, b"first", None))

    @rule
    async def test_writers_of_different_keys_do_not_conflict(self, open_store: OpenStore) -> None:
        """Writers of different keys must not conflict."""
        stores = [open_store() for _ in range(8)]
        await asyncio.gather(*(store.swap(f"groups/{n}", b"", None) for n, store in enumerate(stores)))
        assert set(await stores[0].read("")) == {f"groups/{n}" for n in range(8)}

    @rule
    async def test_any_sequence_of_swaps_does_what_a_register_does(self, open_store: OpenStore) -> None:
        """Any sequence of swaps, through any nodes, must do what a compare-and-swap register does."""
        chance = random.Random(7)
        stores = [open_store() for _ in range(3)]
        model: dict[str, Entry] = {}
        versions: list[Version | None] = [None]
        for number in range(120):
            key = f"groups/{chance.randrange(3)}"
            current = model[key].version if key in model else None
            expected = current if chance.random() < 0.6 else chance.choice(versions)
            value = None if chance.random() < 0.2 and expected else str(number).encode()
            store = chance.choice(stores)
            if expected != current:
                with raises(Conflict):
                    await store.swap(key, value, expected)
            else:
                version = await store.swap(key, value, expected)
                assert version not in versions
                versions.append(version)
                model.pop(key, None)
                if value is not None:
                    model[key] = Entry(value, version)
            assert await chance.choice(stores).read("") == model

    # --- cancelling and closing

    @rule
    async def test_a_store_goes_on_after_a_call_was_cancelled(self, open_store: OpenStore) -> None:
        """A store must work after one of its calls was cancelled."""
        store = open_store()
        for number in range(10):
            call = asyncio.create_task(store.swap(f"groups/{number}", b"", None))
            await asyncio.sleep(0.0005 * number)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        version = await store.swap("cluster", b"after", None)
        assert (await store.read("cluster"))["cluster"] == Entry(b"after", version)

    @rule
    async def test_closing_may_be_done_twice_and_concerns_one_store(self, open_store: OpenStore) -> None:
        """Closing a store must raise nothing, must work twice, and must leave other stores and the data alone."""
        store, other = open_store(), open_store()
        version = await store.swap(KEY, b"one", None)
        await store.close()
        await store.close()
        assert await other.read("") == {KEY: Entry(b"one", version)}

    @rule
    async def test_a_store_that_tells_of_changes_keeps_their_contract(self, open_store: OpenStore) -> None:
        """A store that has `changes` must also keep WatcherContract: subclass it beside StoreContract."""
        from controller.contracts.watch import WatcherContract  # noqa: PLC0415  (it imports this module)

        assert isinstance(open_store(), Watcher) == isinstance(self, WatcherContract)


async def _race(open_store: OpenStore, expected: Version | None) -> None:
    stores = [open_store() for _ in range(4)]
    outcomes = await asyncio.gather(
        *(store.swap(KEY, str(n).encode(), expected) for n, store in enumerate(stores * 5)), return_exceptions=True
    )
    won = [(n, outcome) for n, outcome in enumerate(outcomes) if isinstance(outcome, str)]
    assert len(won) == 1, f"{len(won)} of {len(outcomes)} won"
    assert all(isinstance(outcome, Conflict) for n, outcome in enumerate(outcomes) if n != won[0][0])
    assert await stores[0].read("") == {KEY: Entry(str(won[0][0]).encode(), Version(won[0][1]))}
