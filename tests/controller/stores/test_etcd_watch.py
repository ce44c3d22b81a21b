"""The etcd store's watch: it outlives the members it hangs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controller.contracts.watch import watching
from controller.stores.base import StoreError
from tests.lab.stores.backends import eventually, says
from tests.lab.stores.etcd import leader_of

if TYPE_CHECKING:
    from tests.lab.stores.backends import Backend
    from tests.lab.stores.etcd import EtcdCluster

pytestmark = pytest.mark.etcd

KEY = "groups/web"
LONG = 15.0


async def test_a_watch_survives_a_restart_of_the_server(own: Backend, own_etcd: EtcdCluster) -> None:
    store, other = own.open(), own.open(call_timeout=LONG)
    async with watching(store) as hints:
        await hints.next()
        own_etcd.members[0].kill()
        own_etcd.members[0].start()
        await hints.next()
        own_etcd.members[0].wait_ready()
        await other.swap(KEY, b"one", None)
        await hints.next()


async def test_a_watch_leaves_a_frozen_member_with_the_calls(three: Backend, etcd_three: EtcdCluster) -> None:
    leader = leader_of(etcd_three)
    follower = next(member for member in etcd_three.members if member is not leader)
    store = three.open(endpoints=[follower.endpoint, leader.endpoint], call_timeout=0.5)
    other = three.open(endpoints=[leader.endpoint])
    async with watching(store) as hints:
        await hints.next()
        follower.freeze()
        await eventually(lambda: says(store.read(""), "no answer"))
        await hints.next()
        await other.swap(KEY, b"one", None)
        await hints.next()


async def test_a_watch_on_a_member_that_loses_its_leader_ends_and_begins_again(
    three: Backend,
    etcd_three: EtcdCluster,
) -> None:
    lonely, *others = etcd_three.members
    store = three.open(endpoints=[lonely.endpoint], call_timeout=1.0)
    async with watching(store) as hints:
        await hints.next()
        for member in others:
            member.freeze()
        await eventually(lambda: says(store.read(""), "no leader"))
        for member in others:
            member.thaw()
        before = hints.count
        number = iter(range(10_000))

        async def hinted() -> bool:
            await store.swap(f"groups/{next(number)}", b"", None)
            return hints.count > before

        await eventually(hinted, StoreError)
