"""The etcd store where things go wrong between it and etcd: real members, frozen, killed, cut off; lost replies."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from controller.stores.base import Entry, StoreError
from tests.lab.host.clocks import put_forward
from tests.lab.host.processes import until
from tests.lab.http.bad_network import dark_endpoint, proxy_to
from tests.lab.stores.backends import eventually, says, warmed_up
from tests.lab.stores.etcd import leader_of

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tests.lab.http.bad_network import Proxy
    from tests.lab.stores.backends import Backend
    from tests.lab.stores.etcd import EtcdCluster

pytestmark = pytest.mark.etcd

KEY = "groups/web"
LONG = 600.0  # a call_timeout longer than a test may take: who used it up, or a share of it, would not end


async def held_up_for_too_long(call: Awaitable[object], proxy: Proxy) -> None:
    """Make the call, which the proxy keeps, and let its deadline pass."""
    calling = asyncio.ensure_future(call)
    await until(lambda: proxy.kept > 0)
    put_forward(LONG)
    with pytest.raises(StoreError, match=r"no answer within 600 s"):
        await calling


# --- unknown outcomes --------------------------------------------------------------------------------------------


async def test_a_write_whose_reply_is_lost_is_unknown_and_not_tried_again(place: Backend) -> None:
    direct = place.open()
    async with proxy_to(place.options["endpoints"][0]) as proxy:
        store = place.open(endpoints=[proxy.endpoint, *place.options["endpoints"]])
        version = await store.swap(KEY, b"one", None)
        proxy.losing = True
        with pytest.raises(StoreError):
            await store.swap(KEY, b"two", version)
        assert proxy.lost == 1
        landed = (await direct.read(""))[KEY]
        assert landed.value == b"two"
        assert await store.read("") == {KEY: landed}
        await store.close()


async def test_a_read_whose_reply_is_lost_is_asked_of_another_endpoint(place: Backend) -> None:
    async with proxy_to(place.options["endpoints"][0]) as proxy:
        store = place.open(endpoints=[proxy.endpoint, *place.options["endpoints"]])
        version = await store.swap(KEY, b"one", None)
        proxy.losing = True
        assert await store.read("") == {KEY: Entry(b"one", version)}
        assert proxy.lost == 1
        await store.close()


async def test_a_write_that_is_held_up_may_land_after_its_deadline(place: Backend) -> None:
    direct = place.open()
    async with proxy_to(place.options["endpoints"][0]) as proxy:
        store = place.open(endpoints=[proxy.endpoint], call_timeout=LONG)
        version = await warmed_up(store, direct, KEY)
        proxy.letting_through.clear()
        await held_up_for_too_long(store.swap(KEY, b"late", version), proxy)
        assert (await direct.read(""))[KEY] == Entry(b"one", version)
        proxy.letting_through.set()

        async def landed() -> bool:
            return (await direct.read(""))[KEY].value == b"late"

        await eventually(landed)
        await store.close()


async def test_a_late_write_does_not_land_on_a_later_version(place: Backend) -> None:
    direct = place.open()
    async with proxy_to(place.options["endpoints"][0]) as proxy:
        store = place.open(endpoints=[proxy.endpoint], call_timeout=LONG)
        version = await warmed_up(store, direct, KEY)
        proxy.letting_through.clear()
        await held_up_for_too_long(store.swap(KEY, b"late", version), proxy)
        overwritten = await direct.swap(KEY, b"overwritten", version)
        proxy.letting_through.set()
        await store.close()
        await proxy.settled()
        assert await direct.read("") == {KEY: Entry(b"overwritten", overwritten)}


# --- members that do not answer ----------------------------------------------------------------------------------


async def test_a_closed_store_says_so(place: Backend) -> None:
    store = place.open()
    await store.read("")
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.read("")


async def test_a_port_that_refuses_is_left_at_once_for_reads_and_writes(place: Backend) -> None:
    dead = "http://127.0.0.1:9"
    store = place.open(endpoints=[dead, *place.options["endpoints"]], call_timeout=LONG)
    version = await store.swap(KEY, b"one", None)
    assert await store.read("") == {KEY: Entry(b"one", version)}


async def test_a_host_that_is_dark_costs_its_share_of_the_deadline(place: Backend) -> None:
    async with dark_endpoint() as dark:
        store = place.open(endpoints=[dark, *place.options["endpoints"]], call_timeout=9.0)
        version = await store.swap(KEY, b"one", None)
        assert await store.read("") == {KEY: Entry(b"one", version)}


async def test_nobody_listening_is_said_and_the_deadline_kept(nowhere: Backend) -> None:
    store = nowhere.open(endpoints=["http://127.0.0.1:9"], call_timeout=0.3)
    refused = r"http://127\.0\.0\.1:9: connection refused"
    await eventually(lambda: says(store.read(""), refused))
    await eventually(lambda: says(store.swap(KEY, b"", None), refused))


async def test_a_frozen_server_costs_no_more_than_the_deadline(own: Backend, own_etcd: EtcdCluster) -> None:
    store = own.open(call_timeout=0.5)
    version = await warmed_up(store, own.open(call_timeout=LONG), KEY)
    own_etcd.members[0].freeze()
    for call in (lambda: store.read(""), lambda: store.swap("groups/other", b"two", None)):
        with pytest.raises(StoreError, match=r"no answer within 0\.5 s"):
            await call()
    own_etcd.members[0].thaw()
    assert (await eventually(lambda: store.read(""), StoreError))[KEY] == Entry(b"one", version)


async def test_a_server_that_comes_back_within_the_deadline_is_waited_for(own: Backend, own_etcd: EtcdCluster) -> None:
    store = own.open(call_timeout=LONG)
    version = await store.swap(KEY, b"one", None)
    own_etcd.members[0].kill()
    write = asyncio.create_task(own.open(call_timeout=LONG).swap(KEY, b"two", version))
    await asyncio.sleep(0.3)
    assert not write.done(), "nobody listens, so nothing was sent: there is nothing to be unsure of"
    own_etcd.members[0].start()
    assert await store.read("") in ({KEY: Entry(b"one", version)}, {KEY: Entry(b"two", await write)})


async def test_a_killed_member_is_left_at_once(three: Backend, etcd_three: EtcdCluster) -> None:
    leader = leader_of(etcd_three)
    follower = next(member for member in etcd_three.members if member is not leader)
    others = [member.endpoint for member in etcd_three.members if member is not follower]
    store = three.open(endpoints=[follower.endpoint, *others], call_timeout=LONG)
    version = await store.swap(KEY, b"one", None)
    follower.kill()
    assert await store.read("") == {KEY: Entry(b"one", version)}
    version = await store.swap(KEY, b"two", version)
    assert await store.read("") == {KEY: Entry(b"two", version)}


async def test_the_death_of_the_leader_is_ridden_out_by_reads(three: Backend, etcd_three: EtcdCluster) -> None:
    leader = leader_of(etcd_three)
    others = [member.endpoint for member in etcd_three.members if member is not leader]
    store = three.open(endpoints=[leader.endpoint, *others], call_timeout=LONG)
    version = await store.swap(KEY, b"one", None)
    leader.kill()
    assert await store.read("") == {KEY: Entry(b"one", version)}


async def test_a_frozen_member_is_left_after_one_deadline(three: Backend, etcd_three: EtcdCluster) -> None:
    leader = leader_of(etcd_three)
    follower = next(member for member in etcd_three.members if member is not leader)
    others = [member.endpoint for member in etcd_three.members if member is not follower]
    store = three.open(endpoints=[follower.endpoint, *others], call_timeout=LONG)
    version = await warmed_up(store, three.open(call_timeout=LONG), KEY)
    follower.freeze()
    writing = asyncio.create_task(store.swap("groups/other", b"", None))
    await asyncio.sleep(0.1)
    put_forward(LONG)
    with pytest.raises(StoreError, match="no answer"):
        await writing
    for number in range(5):
        version = await store.swap(KEY, str(number).encode(), version)


@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_without_a_quorum_there_is_no_answer(three: Backend, etcd_three: EtcdCluster, fault: str) -> None:
    lonely, *others = etcd_three.members
    store = three.open(endpoints=[lonely.endpoint], call_timeout=1.0)
    version = await warmed_up(store, three.open(call_timeout=LONG), KEY)
    for member in others:
        getattr(member, fault)()
    for call in (lambda: store.read(""), lambda: store.swap(KEY, b"two", version)):
        with pytest.raises(StoreError):
            await call()
    await eventually(lambda: says(store.read(""), "no leader"))
    for member in others:
        member.start() if fault == "kill" else member.thaw()
    assert KEY in await eventually(lambda: store.read(""), StoreError)


async def test_a_member_without_a_leader_is_left_at_once(three: Backend, etcd_three: EtcdCluster) -> None:
    """Cut off from the others, it would take 5 s and more to say so by itself."""
    lonely, *others = etcd_three.members
    store = three.open(endpoints=[lonely.endpoint], call_timeout=1.0)
    for member in others:
        member.freeze()
    await eventually(lambda: says(store.read(""), "no leader"))
