"""The guard outlives its daemon, resists others, and is put right where it cannot resist."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import replace
from ipaddress import IPv4Interface
from typing import TYPE_CHECKING

import pytest

from providers.base import GuardState, ProviderError
from providers.linux import netlink
from providers.linux import nftables as nft
from providers.linux.attributes import text
from providers.linux.guard import GuardMissing, KernelGuard
from providers.linux.netlink import NETFILTER, Socket
from tests.lab.host.processes import LIVENESS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.netns.conftest import Echo, Lan, Process

pytestmark = pytest.mark.netns

PRELUDE = """
from ipaddress import ip_interface
from providers.base import Guarded
from providers.linux.guard import KernelGuard
guard = KernelGuard("test")
guard.install({"web": Guarded((ip_interface("10.77.0.100/24"), ip_interface("fd77::100/64")), ("eth0",))})
async def opened(seconds): await guard.start(1, seconds); await guard.arm(1, {"web"})
"""


def nft_command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["nft", *words], capture_output=True, text=True, check=False)


def owned_or_skip(guard: KernelGuard) -> None:
    if not guard.owned:
        pytest.skip("this kernel has no persistent table owners (before 6.9)")


async def test_killed_and_never_restarted_it_shuts_by_itself(
    lan: Lan, process: Callable[[str], Process], echo: Echo
) -> None:
    lan.hold_vips()
    for seconds in (0.6, 3.0, 15.0):  # a machine that stands still for longer than the timer asks nothing in time
        daemon = process(PRELUDE)
        daemon.do(f"opened({seconds})")
        daemon.kill()
        if answered := lan.neighbour.echoed(lan.vip4.ip, seconds / 2):
            break
    assert answered, "it must not shut early"
    await asyncio.sleep(seconds + 0.1)
    assert not lan.neighbour.echoed(lan.vip4.ip, 0.1)
    assert not lan.neighbour.echoed(lan.vip6.ip, 0.1)


async def test_the_next_life_takes_it_over_as_it_is(
    lan: Lan, process: Callable[[str], Process], guard: KernelGuard, echo: Echo
) -> None:
    lan.hold_vips()
    daemon = process(PRELUDE)
    daemon.do("opened(30.0)")
    daemon.kill()

    guard.install(lan.plan("web"))
    assert await guard.inspect() == GuardState(frozenset({"web"}), 1)
    assert lan.neighbour.echoed(lan.vip4.ip, LIVENESS)
    await guard.shut({"web"})
    assert await guard.inspect() == GuardState(frozenset(), None)
    assert not lan.neighbour.echoed(lan.vip4.ip, 0.1)


async def test_the_next_life_shuts_a_group_that_has_more_addresses_now(
    lan: Lan, process: Callable[[str], Process], guard: KernelGuard
) -> None:
    daemon = process(PRELUDE)
    daemon.do("opened(30.0)")
    daemon.kill()
    before = lan.plan("web")["web"]
    more = (*before.vips, IPv4Interface("192.0.2.7/32"))
    guard.install({"web": replace(before, vips=more)})
    assert await guard.inspect() == GuardState(frozenset(), None)


async def test_the_next_life_finds_it_shut(lan: Lan, process: Callable[[str], Process], guard: KernelGuard) -> None:
    daemon = process(PRELUDE)
    daemon.do("opened(0.05)")
    daemon.kill()
    await asyncio.sleep(0.1)
    guard.install(lan.plan("web"))
    assert await guard.inspect() == GuardState(frozenset(), None)


async def test_a_second_daemon_of_the_same_name_is_refused(
    lan: Lan, process: Callable[[str], Process], guard: KernelGuard
) -> None:
    guard.install(lan.plan("web"))
    owned_or_skip(guard)
    with pytest.raises(AssertionError, match="no other daemon of this name"):
        process(PRELUDE.replace("guard.install", "pass #")).do("guard.install({})")
    await guard.start(0, 1.0)


@pytest.mark.parametrize(
    "command",
    [
        "flush ruleset",
        "delete table netdev {table}",
        "flush table netdev {table}",
        "flush chain netdev {table} group_web",
        "insert rule netdev {table} ingress accept",
        "delete chain netdev {table} ingress_eth0",
        "flush map netdev {table} vips4",
        "add table netdev {table} {{ flags dormant; }}",
    ],
)
async def test_others_cannot_open_it(lan: Lan, guard: KernelGuard, echo: Echo, command: str) -> None:
    lan.hold_vips()
    guard.install(lan.plan("web"))
    owned_or_skip(guard)
    nft_command(*command.format(table=guard.table).split())
    assert await guard.inspect() == GuardState(frozenset(), None)
    assert not lan.neighbour.echoed(lan.vip4.ip, 0.15)


@pytest.mark.parametrize(
    "command",
    [
        "flush ruleset",
        "delete table netdev {table}",
        "flush chain netdev {table} group_web",
        "insert rule netdev {table} ingress accept",
        "flush map netdev {table} vips4",
    ],
)
async def test_without_an_owner_what_others_did_is_seen_and_put_right(
    lan: Lan, ownerless: KernelGuard, echo: Echo, command: str
) -> None:
    guard = ownerless
    lan.hold_vips()
    guard.install(lan.plan("web"))
    assert not guard.owned
    await guard.start(0, 30.0)
    await guard.arm(0, {"web"})

    done = nft_command(*command.format(table=guard.table).split())
    assert done.returncode == 0, done.stderr
    with pytest.raises(GuardMissing):
        await guard.inspect()

    guard.install(lan.plan("web"))
    await guard.inspect()
    await guard.shut({"web"})
    assert not lan.neighbour.echoed(lan.vip4.ip, 0.15)
    assert await guard.inspect() == GuardState(frozenset(), None)


async def test_after_a_flush_it_comes_back_shut(lan: Lan, ownerless: KernelGuard, echo: Echo) -> None:
    guard = ownerless
    lan.hold_vips()
    guard.install(lan.plan("web"))
    await guard.start(0, 30.0)
    await guard.arm(0, {"web"})
    nft_command("flush", "ruleset")
    for call in (guard.start(0, 1.0), guard.arm(0, {"web"}), guard.shut({"web"})):
        with pytest.raises(GuardMissing):
            await call
    guard.install(lan.plan("web"))
    assert await guard.inspect() == GuardState(frozenset(), None)
    assert not lan.neighbour.echoed(lan.vip4.ip, 0.15)


async def test_a_table_of_another_layout_is_built_anew_and_shut(lan: Lan, guard: KernelGuard) -> None:
    with Socket(NETFILTER) as other:
        table = [nft.table(guard.table, nft.OWNER | nft.PERSIST, "anyvip guard 0: test"), nft.chain(guard.table, "old")]
        other.batch(nft.transaction(table), "an older version's table")
    guard.install(lan.plan("web"))
    assert await guard.inspect() == GuardState(frozenset(), None)
    assert "chain old" not in nft_command("list", "ruleset").stdout


async def test_an_answer_names_what_the_kernel_refused(lan: Lan, guard: KernelGuard) -> None:
    guard.install(lan.plan("web"))
    with Socket(NETFILTER) as other, pytest.raises(netlink.NetlinkError, match="No such file"):
        other.dump(nft.request(nft.GET_ELEMENT, text(1, "none"), text(2, "none")), "list nothing")
    with pytest.raises(ProviderError, match="1e-05 s"):
        await guard.start(0, 1e-5)
