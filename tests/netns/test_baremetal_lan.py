"""What the LAN hears and who else answers there; connections; what the kernel tells us; with two capabilities only."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Awaitable
from contextlib import aclosing
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest

from providers.baremetal import arp, ndp
from providers.base import Grant, Level, ProviderError, StaleGrant
from providers.linux import netlink, sockdiag
from providers.linux.guard import KernelGuard
from providers.linux.monitor import Change, ChangeKind, changes
from providers.linux.netlink import SOCK_DIAG, Socket
from tests.lab.host.namespaces import eventually
from tests.lab.host.processes import LIVENESS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from providers.baremetal.provider import BareMetal
    from tests.netns.conftest import Clock, Lan, Process

    Make = Callable[..., BareMetal]

pytestmark = pytest.mark.netns

NO = 0.5  # seconds; how long what must not come is waited for
BRIEF = {"count": 3, "interval_seconds": 0.1}


def grant(clock: Clock, seconds: float = 30.0) -> Grant:
    return Grant("web", 1, clock() + seconds)


async def heard(lan: Lan, within: float) -> bool:
    """Whether an announcement of the IPv4 VIP comes."""
    return await asyncio.to_thread(lan.neighbour.announced, lan.vip4.ip, within) is not None


# --- announcements -----------------------------------------------------------------------------------------------


async def test_announced_as_request_reply_and_advertisement(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    for vip in lan.vips:
        lan.peer.run(f"ip neigh replace {vip.ip} lladdr 02:00:00:00:00:41 dev wire nud stale")
    web = bare_metal(announce={"count": 1})
    await web.bind(grant(clock))
    await web.announce()
    for vip in lan.vips:
        assert eventually(lambda: lan.mac.hex(":") in lan.peer.run(f"ip neigh show {vip.ip}")), vip  # noqa: B023


async def test_announcements_are_repeated(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    web = bare_metal(lan.vip4, announce=BRIEF)
    await web.bind(grant(clock))
    lan.neighbour.forget()
    await web.announce()
    for _ in range(6):  # a request and a reply each time
        assert await heard(lan, LIVENESS)
    assert not await heard(lan, NO)


async def test_unbinding_ends_the_announcements(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    web = bare_metal(lan.vip4, announce={"count": 100, "interval_seconds": 0.1})
    await web.bind(grant(clock))
    await web.announce()
    await web.unbind()
    lan.neighbour.forget()
    assert not await heard(lan, NO)
    with pytest.raises(StaleGrant):
        await web.announce()


async def test_the_end_of_the_grant_ends_the_announcements(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    web = bare_metal(lan.vip4, announce={"count": 100, "interval_seconds": 0.1})
    await web.bind(grant(clock))
    await web.announce()
    assert await heard(lan, LIVENESS)
    clock.ahead += 31.0
    await asyncio.sleep(0.3)  # it wakes in this loop before we do
    lan.neighbour.forget()
    assert not await heard(lan, NO)


@pytest.mark.parametrize("in_time", [True, False], ids=["interrupted", "late"])
async def test_announcements_that_a_late_grant_cost_are_made_with_the_next_one(
    lan: Lan, bare_metal: Make, clock: Clock, in_time: bool
) -> None:
    web = bare_metal(lan.vip4, announce={"count": 100, "interval_seconds": 0.1})
    await web.bind(grant(clock))
    if in_time:
        await web.announce()
    clock.ahead += 31.0
    await asyncio.sleep(0.3)
    if not in_time:
        with pytest.raises(StaleGrant):
            await web.announce()
    lan.neighbour.forget()
    await web.bind(grant(clock))
    assert await heard(lan, LIVENESS)


async def test_a_shut_guard_is_reported_by_who_announces(
    lan: Lan, bare_metal: Make, clock: Clock, guard: KernelGuard
) -> None:
    web = bare_metal(lan.vip4)
    guard.install({"web": web.guarded()})
    await web.bind(grant(clock))
    with pytest.raises(ProviderError, match="eth0: send frames: No buffer space"):
        await web.announce()


# --- conflicts ---------------------------------------------------------------------------------------------------


def asking() -> bool:
    return any(thread.name == "conflicts-web" for thread in threading.enumerate())


async def test_somebody_else_who_answers_is_reported(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    for vip in lan.vips:
        lan.peer.run(f"ip neigh del {vip.ip} dev wire")
        lan.peer.run(f"ip addr add {vip} dev wire{' nodad' if vip.version == 6 else ''}")
    web = bare_metal()
    await web.bind(grant(clock))
    assert await until(lambda: len(web.conflicts) == 2)
    assert {finding.subject for finding in web.conflicts} == {"10.77.0.100", "fd77::100"}
    assert all(finding.level is Level.ERROR for finding in web.conflicts)
    assert all(lan.neighbour.mac.hex(":") in finding.message for finding in web.conflicts)
    await web.unbind()


async def test_nobody_else_answers(lan: Lan, bare_metal: Make, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    web = bare_metal()
    await web.bind(grant(clock))
    lan.neighbour.send(arp.probe(lan.vip4.ip, lan.neighbour.mac))  # asks, claims nothing
    lan.neighbour.send(arp.gratuitous_reply(lan.neighbour.four, lan.neighbour.mac))
    lan.neighbour.send(ndp.unsolicited_advertisement(lan.neighbour.six, lan.neighbour.mac))
    await asyncio.sleep(0.3)
    assert web.conflicts == ()
    await web.unbind()
    assert not caplog.records


async def test_a_link_that_goes_down_after_the_question_is_no_news(
    lan: Lan, bare_metal: Make, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    web = bare_metal()
    await web.bind(grant(clock))
    assert await until(asking)
    await asyncio.sleep(0.05)  # it listens
    await web.unbind()
    lan.node.run(f"ip link set {lan.interface} down")
    assert await until(lambda: not asking())
    assert not caplog.records


async def test_the_lan_is_asked_without_delay_and_without_claiming(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    with lan.peer.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(arp.ETHERTYPE)) as wire:
        wire.bind(("wire", arp.ETHERTYPE))
        wire.settimeout(LIVENESS)
        with lan.node.entered():
            web = bare_metal(lan.vip4)
            await web.bind(grant(clock))
            packet = arp.parse(await asyncio.to_thread(wire.recv, 100))
    assert packet == arp.Arp(arp.REQUEST, lan.mac, IPv4Address(0), b"\0" * 6, lan.vip4.ip)
    await web.unbind()


async def until(true: Callable[[], object]) -> bool:
    return await asyncio.to_thread(eventually, true, LIVENESS)


# --- connections -------------------------------------------------------------------------------------------------


@pytest.fixture
def listeners(lan: Lan) -> Iterator[dict[str, socket.socket]]:
    """Listeners on IPv4, IPv6, and IPv6 for both."""
    lan.hold_vips()
    made = {
        "four": socket.create_server(("0.0.0.0", 80)),
        "six": socket.create_server(("::", 81), family=socket.AF_INET6),
        "both": socket.create_server(("::", 82), family=socket.AF_INET6, dualstack_ipv6=True),
    }
    yield made
    for each in made.values():
        each.close()


def connected(lan: Lan, listener: socket.socket, address: str, port: int) -> tuple[socket.socket, socket.socket]:
    with lan.peer.entered():
        client = socket.create_connection((address, port), timeout=LIVENESS)
    client.settimeout(LIVENESS)
    server, _ = listener.accept()
    return client, server


async def test_clients_of_the_vip_get_a_reset_and_others_do_not(
    lan: Lan, bare_metal: Make, listeners: dict[str, socket.socket]
) -> None:
    of_vip = [
        connected(lan, listeners["four"], "10.77.0.100", 80),
        connected(lan, listeners["six"], "fd77::100", 81),
        connected(lan, listeners["both"], "10.77.0.100", 82),
        connected(lan, listeners["both"], "fd77::100", 82),
    ]
    of_node = [
        connected(lan, listeners["four"], "10.77.0.11", 80),
        connected(lan, listeners["six"], "fd77::11", 81),
        connected(lan, listeners["both"], "10.77.0.11", 82),
    ]
    await bare_metal().reset()
    for client, server in of_vip:
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        with pytest.raises(ConnectionAbortedError):
            server.recv(1)
    for client, server in of_node:
        server.send(b"!")
        assert client.recv(1) == b"!"
    for client, server in of_vip + of_node:
        client.close()
        server.close()
    again, accepted = connected(lan, listeners["four"], "10.77.0.100", 80)  # listeners stay
    again.close()
    accepted.close()
    await bare_metal().reset()


async def test_hundreds_of_connections_at_once(lan: Lan, bare_metal: Make, listeners: dict[str, socket.socket]) -> None:
    pairs = [connected(lan, listeners["four"], "10.77.0.100", 80) for _ in range(300)]
    with Socket(SOCK_DIAG) as kernel:
        assert len(sockdiag.connections(kernel, [lan.vip4.ip])) == 300
        assert sockdiag.is_supported(kernel)
    await bare_metal(lan.vip4).reset()
    for client, server in pairs:
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        client.close()
        server.close()


# --- what the kernel tells ---------------------------------------------------------------------------------------


async def told(wanted: list[Change], act: Callable[[], object]) -> list[Change]:
    """What is told after `act`, which may be awaitable, until all that is wanted has been."""
    seen: list[Change] = []
    async with aclosing(changes()) as stream, asyncio.timeout(LIVENESS):
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.05)  # it listens now
        acted = act()
        if isinstance(acted, Awaitable):
            await acted
        seen.append(await first)
        while not all(change in seen for change in wanted):
            seen.append(await anext(stream))
    return seen


async def test_an_address_that_goes_is_told(lan: Lan) -> None:
    lan.hold_vips()
    gone = [Change(ChangeKind.ADDRESS_GONE, "eth0", str(vip.ip)) for vip in lan.vips]
    await told(gone, lambda: [lan.node.run(f"ip addr del {vip} dev eth0") for vip in lan.vips])


async def test_an_address_whose_lifetime_ends_is_told(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    web = bare_metal(lan.vip4)
    gone = [Change(ChangeKind.ADDRESS_GONE, "eth0", "10.77.0.100")]
    assert await told(gone, lambda: web.bind(grant(clock, 1.0)))


async def test_refreshing_an_address_is_not_told(lan: Lan, bare_metal: Make, clock: Clock) -> None:
    web = bare_metal()
    await web.bind(grant(clock))
    async with aclosing(changes()) as stream:
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.05)
        for _ in range(5):
            await web.bind(grant(clock))
        lan.node.run("ip link add marker0 type veth peer name marker1")
        assert (await asyncio.wait_for(first, LIVENESS)).kind is ChangeKind.LINK_NEW


async def test_links_are_told(lan: Lan) -> None:
    down, up = Change(ChangeKind.LINK_DOWN, "eth0"), Change(ChangeKind.LINK_UP, "eth0")
    await told([down], lambda: lan.peer.run("ip link set wire down"))
    await told([up], lambda: lan.peer.run("ip link set wire up"))
    await told([Change(ChangeKind.LINK_NEW, "a0")], lambda: lan.node.run("ip link add a0 type veth peer name a1"))
    renamed = [Change(ChangeKind.LINK_GONE, "a0"), Change(ChangeKind.LINK_NEW, "b0")]
    await told(renamed, lambda: lan.node.run("ip link set a0 name b0"))
    await told([Change(ChangeKind.LINK_GONE, "b0")], lambda: lan.node.run("ip link del b0"))


async def test_what_others_do_to_the_guard_is_told_and_what_we_do_is_not(lan: Lan, ownerless: KernelGuard) -> None:
    guard = ownerless
    guard.install(lan.plan("web"))
    async with aclosing(changes(guard.table, guard.port)) as stream:
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.05)
        await guard.start(0, 30.0)
        await guard.arm(0, {"web"})
        await guard.shut({"web"})
        guard.install(lan.plan("web", "db"))
        await asyncio.sleep(0.05)
        assert not first.done()
        lan.node.run("nft flush ruleset")
        assert (await asyncio.wait_for(first, LIVENESS)).kind is ChangeKind.GUARD_CHANGED


async def test_too_many_changes_at_once_are_said_to_be_lost(lan: Lan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "ROOM", 4096)  # of the socket's buffer
    async with aclosing(changes()) as stream:
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.05)
        for number in range(20):  # more than fit; nobody reads meanwhile
            lan.node.run(f"ip link add many{number} type veth peer name more{number}")
        seen = [await first]
        while len(seen) < 41:
            seen.append(await asyncio.wait_for(anext(stream), LIVENESS))
    assert Change(ChangeKind.OVERFLOW) in seen
    assert {change.interface for change in seen if change.kind is ChangeKind.LINK_NEW} == {
        f"{name}{number}" for name in ("many", "more") for number in range(20)
    }, "the links were looked at again"


# --- capabilities ------------------------------------------------------------------------------------------------

UNPRIVILEGED = """
import asyncio, ctypes, os, struct, time
from ipaddress import ip_interface
from ipaddress import IPv4Address
from providers.base import Grant
from providers.baremetal.provider import BareMetal, BareMetalOptions
from providers.linux.capabilities import missing_capabilities
from providers.linux.guard import KernelGuard
libc = ctypes.CDLL(None)
def drop(capabilities):
    libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
    try:
        os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
    except OSError:
        pass  # the only user of its user namespace
    header = struct.pack("Ii", 0x20080522, 0)
    data = struct.pack("IIIIII", capabilities, capabilities, 0, 0, 0, 0)
    assert libc.capset(header, data) == 0
def capable():
    return [os.getuid(), *missing_capabilities()]
async def everything():
    vips = (ip_interface("10.77.0.100/24"), ip_interface("fd77::100/64"))
    clock = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
    web = BareMetal.open(BareMetalOptions(announce={"count": 1}), group="web", vips=vips, clock=clock)
    guard = KernelGuard("test")
    guard.install({"web": web.guarded()})
    await web.unbind()
    await guard.start(0, 30.0)
    await guard.arm(0, {"web"})
    await web.bind(Grant("web", 1, clock() + 30.0))
    await web.announce()
    found = [str((await web.inspect()).place), sorted((await guard.inspect()).open_groups), guard.owned]
    found.append([finding.message for finding in await web.preflight() if finding.level == "error"])
    await web.reset()
    await guard.shut({"web"})
    await web.unbind()
    guard.remove()
    await web.close()
    return found
"""


async def test_two_capabilities_are_enough(lan: Lan, process: Callable[[str], Process]) -> None:
    daemon = process(UNPRIVILEGED)
    daemon.do("drop(1 << 12 | 1 << 13)")
    assert daemon.do("capable()")[1:] == []
    place, open_groups, _, errors = daemon.do("everything()")
    assert (place, open_groups, errors) == ("here", ["web"], [])


@pytest.mark.parametrize(("kept", "missing"), [(0, ["CAP_NET_ADMIN", "CAP_NET_RAW"]), (1 << 12, ["CAP_NET_RAW"])])
async def test_what_is_missing_is_named(
    lan: Lan, process: Callable[[str], Process], kept: int, missing: list[str]
) -> None:
    daemon = process(UNPRIVILEGED)
    daemon.do(f"drop({kept})")
    assert daemon.do("capable()")[1:] == missing
    with pytest.raises(AssertionError, match=re.escape(missing[0])):
        daemon.do("everything()")
