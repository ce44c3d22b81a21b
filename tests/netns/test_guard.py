"""What the guard lets pass, asked from the next host by every protocol."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Any

import pytest

from providers.baremetal import arp, ndp
from providers.base import Guarded, GuardState, ProviderError
from providers.linux.bpf import RETURN
from providers.linux.guard import GuardMissing, KernelGuard
from providers.linux.packet_socket import PacketSocket
from tests.lab.host.namespaces import eventually
from tests.lab.host.processes import LIVENESS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from providers.linux.netlink import Message, NetlinkRefusal, Socket
    from tests.netns.conftest import Echo, Lan

pytestmark = pytest.mark.netns

LONG = 30.0  # seconds; a timer that does not end during the test
YES = LIVENESS  # how long an answer that must come may take
NO = 0.15  # how long an answer that must not come is waited for


def answers(lan: Lan, within: float) -> dict[str, bool]:
    """By which protocols the neighbour reaches the VIPs."""
    return {
        "arp": lan.neighbour.answered(lan.vip4.ip, within) is not None,
        "nd": lan.neighbour.answered(lan.vip6.ip, within) is not None,
        "ipv4": lan.neighbour.echoed(lan.vip4.ip, within),
        "ipv6": lan.neighbour.echoed(lan.vip6.ip, within),
    }


ALL = {"arp": True, "nd": True, "ipv4": True, "ipv6": True}
NONE = dict.fromkeys(ALL, False)


class Counting:
    """A guard's socket, and how long each of the messages was that it sent."""

    def __init__(self, wire: Socket) -> None:
        self._wire = wire
        self.sent: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wire, name)

    def batch(self, messages: Sequence[Message], what: str) -> list[NetlinkRefusal]:
        self.sent += [len(message.body) for message in messages]
        return self._wire.batch(messages, what)


async def opened(guard: KernelGuard, *groups: str, slot: int = 0, seconds: float = LONG) -> None:
    await guard.start(slot, seconds)
    await guard.arm(slot, groups)


async def test_shut_until_it_is_opened_and_shut_again(lan: Lan, guard: KernelGuard, echo: Echo) -> None:
    lan.hold_vips()
    assert answers(lan, YES) == ALL  # without a guard

    assert guard.install(lan.plan("web")) == ()
    heard = echo.heard
    assert answers(lan, NO) == NONE
    assert echo.heard == heard, "a packet to the VIP came in"
    assert await guard.inspect() == GuardState(frozenset(), None)

    await opened(guard, "web")
    assert answers(lan, YES) == ALL
    assert await guard.inspect() == GuardState(frozenset({"web"}), 0)

    await guard.shut({"web"})
    assert answers(lan, NO) == NONE
    assert await guard.inspect() == GuardState(frozenset(), None)


async def test_nothing_leaves_as_the_vip_while_it_is_shut(lan: Lan, guard: KernelGuard, echo: Echo) -> None:
    lan.hold_vips()
    guard.install(lan.plan("web"))
    frames = [
        arp.announcement(lan.vip4.ip, lan.mac),
        arp.gratuitous_reply(lan.vip4.ip, lan.mac),
        ndp.unsolicited_advertisement(lan.vip6.ip, lan.mac),
    ]
    lan.node.run("ping -c1 -W20 10.77.0.50")  # the node knows its neighbour's MAC
    lan.node.run("ping -6 -c1 -W20 fd77::50")

    with PacketSocket(lan.interface) as wire:
        for frame in frames:  # an AF_PACKET socket of a thawed daemon
            with pytest.raises(ProviderError, match="No buffer space"):
                wire.send([frame])
    for version, address in ((4, "10.77.0.50"), (6, "fd77::50")):
        try:
            echo.sockets[version].sendto(b"!", (address, 7007))
        except OSError:
            continue  # refused at once is as good

    assert lan.neighbour.announced(lan.vip4.ip, NO) is None
    assert lan.neighbour.announced(lan.vip6.ip, NO) is None
    assert not lan.neighbour.received(lan.vip4.ip, NO)
    assert not lan.neighbour.received(lan.vip6.ip, NO)

    await opened(guard, "web")
    with PacketSocket(lan.interface) as wire:
        wire.send(frames)
    assert lan.neighbour.announced(lan.vip4.ip, YES) == lan.mac
    assert lan.neighbour.announced(lan.vip6.ip, YES) == lan.mac


async def test_other_traffic_of_the_node_passes_while_it_is_shut(lan: Lan, guard: KernelGuard) -> None:
    guard.install(lan.plan("web"))
    lan.node.run("ping -c1 -W20 10.77.0.50")
    lan.node.run("ping -6 -c1 -W20 fd77::50")
    lan.peer.run("ping -c1 -W20 10.77.0.11")
    lan.peer.run("ping -6 -c1 -W20 fd77::11")


async def test_a_standby_is_a_client_of_the_vip(lan: Lan, guard: KernelGuard) -> None:
    guard.install(lan.plan("web"))
    for vip in lan.vips:
        lan.peer.run(f"ip neigh del {vip.ip} dev wire")
    lan.peer.run(f"ip addr add {lan.vip4} dev wire")
    lan.peer.run(f"ip addr add {lan.vip6} dev wire nodad")

    lan.node.run(f"ping -c1 -W20 {lan.vip4.ip}")
    lan.node.run(f"ping -6 -c1 -W20 {lan.vip6.ip}")
    lan.node.run("nft list ruleset")


async def test_a_standby_that_is_a_client_learns_that_the_vip_moved(lan: Lan, guard: KernelGuard) -> None:
    guard.install(lan.plan("web"))
    there = bytes.fromhex("020000000042")
    for vip in lan.vips:
        lan.node.run(f"ip neigh replace {vip.ip} lladdr 02:00:00:00:00:41 dev {lan.interface} nud stale")

    lan.neighbour.send(arp.announcement(lan.vip4.ip, there))
    lan.neighbour.send(arp.gratuitous_reply(lan.vip4.ip, there))
    lan.neighbour.send(ndp.unsolicited_advertisement(lan.vip6.ip, there))

    for vip in lan.vips:
        assert there.hex(":") in lan.node.run(f"ip neigh show {vip.ip}")


@pytest.mark.parametrize("outer", [0x8100, 0x88A8])
@pytest.mark.parametrize("inner", [0x8100, 0x88A8])
async def test_what_the_stack_unwraps_is_refused(
    lan: Lan, guard: KernelGuard, echo: Echo, outer: int, inner: int
) -> None:
    """Frames with two or three tags of VLAN id 0 and a priority; the kernel delivers what is in them."""
    lan.hold_vips()
    inside = datagram(lan)
    tags = struct.pack("!HHHH", outer, 0xE000, inner, 0x2000)
    frames = [
        lan.mac + lan.neighbour.mac + some + b"\x08\x00" + inside for some in (b"", tags[:4], tags, tags + tags[:4])
    ]
    assert [came(lan, echo, frame) for frame in frames] == [1, 1, 1, 1]  # without a guard
    guard.install(lan.plan("web"))
    assert [came(lan, echo, frame) for frame in frames] == [0, 0, 0, 0]
    await opened(guard, "web")
    assert [came(lan, echo, frame) for frame in frames[:2]] == [1, 1]


def datagram(lan: Lan) -> bytes:
    """An IPv4 packet with one byte of UDP, without a checksum, from the neighbour to the VIP's port 7."""
    addresses = lan.neighbour.four.packed + lan.vip4.ip.packed
    header = struct.pack("!BBHHHBBH", 0x45, 0, 29, 1, 0, 64, 17, 0) + addresses
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack("!H", 0xFFFF - total) + header[12:]
    return header + struct.pack("!HHHH", 7007, 7, 9, 0) + b"?"


def came(lan: Lan, echo: Echo, frame: bytes) -> int:
    """How many packets to the VIP come in when the neighbour sends the frame."""
    before = echo.heard
    lan.neighbour.send(frame)
    eventually(lambda: echo.heard > before, NO)
    return echo.heard - before


async def test_each_group_has_its_own_state(lan: Lan, guard: KernelGuard, echo: Echo) -> None:
    lan.hold_vips()
    guard.install(lan.plan("other", "web"))
    await opened(guard, "web")
    assert answers(lan, NO) == NONE
    assert await guard.inspect() == GuardState(frozenset({"web"}), 0)

    await guard.arm(0, {"other"})
    assert answers(lan, YES) == ALL
    await guard.shut({"web"})
    assert answers(lan, YES) == ALL
    assert await guard.inspect() == GuardState(frozenset({"other"}), 0)


async def test_the_slot_that_ends_later_is_the_one_that_keeps_it_open(lan: Lan, guard: KernelGuard) -> None:
    guard.install(lan.plan("web", "db"))
    await opened(guard, "web", "db", slot=1, seconds=LONG)
    await opened(guard, "web", slot=0, seconds=LONG * 2)
    assert await guard.inspect() == GuardState(frozenset({"web", "db"}), 0)
    await guard.start(0, LONG)
    assert await guard.inspect() == GuardState(frozenset({"web", "db"}), 1)


async def test_starting_a_slot_disarms_it_whatever_had_ended(lan: Lan, guard: KernelGuard) -> None:
    guard.install(lan.plan("web"))
    await opened(guard, "web", seconds=0.05)
    await asyncio.sleep(0.1)
    assert (await guard.inspect()).open_groups == frozenset()
    for _ in range(3):
        await guard.start(0, LONG)  # the timer has ended, or runs, or was just started
        assert (await guard.inspect()).open_groups == frozenset()


async def test_shut_and_arm_may_be_repeated(lan: Lan, guard: KernelGuard) -> None:
    guard.install(lan.plan("web", "db"))
    await guard.shut({"web", "db"})
    await opened(guard, "web")
    await guard.arm(0, {"web", "db"})
    await guard.arm(0, {"web"})
    assert await guard.inspect() == GuardState(frozenset({"web", "db"}), 0)
    await guard.shut({"web"})
    await guard.shut({"web"})
    assert await guard.inspect() == GuardState(frozenset({"db"}), 0)


@pytest.mark.parametrize("slots", [(0,), (1,), (0, 1)])
async def test_whatever_slot_keeps_a_group_open_it_can_be_shut(
    lan: Lan, guard: KernelGuard, slots: tuple[int, ...]
) -> None:
    guard.install(lan.plan("web"))
    for slot in slots:
        await opened(guard, "web", slot=slot)
    await guard.shut({"web"})
    assert await guard.inspect() == GuardState(frozenset(), None)


async def test_a_shut_that_the_kernel_does_not_confirm_is_an_error(lan: Lan, guard: KernelGuard) -> None:
    guard.install(lan.plan("web"))
    guard._socket.keep([(RETURN, 0, 0, 0)])  # the socket's filter lets no answer in
    with pytest.raises(ProviderError, match="shut the guard: the kernel's answer was lost"):
        await guard.shut({"web"})


async def test_a_timer_that_would_never_end_is_refused(lan: Lan, guard: KernelGuard) -> None:
    guard.install(lan.plan("web"))
    for seconds in (0.0, 0.0009, -1.0):
        with pytest.raises(ProviderError, match="timer"):
            await guard.start(0, seconds)


async def test_a_group_that_is_not_installed_cannot_be_armed(lan: Lan, guard: KernelGuard) -> None:
    guard.install(lan.plan("web"))
    with pytest.raises(GuardMissing, match="db"):
        await guard.arm(0, {"db"})


async def test_before_install_nothing_is_promised(lan: Lan, guard: KernelGuard) -> None:
    with pytest.raises(GuardMissing):
        await guard.inspect()
    with pytest.raises(GuardMissing):
        await guard.start(0, LONG)
    with pytest.raises(GuardMissing):
        await guard.shut({"web"})


async def test_reload_leaves_what_stays_alone(lan: Lan, guard: KernelGuard, echo: Echo) -> None:
    lan.hold_vips()
    guard.install(lan.plan("web", "db"))
    await opened(guard, "web", "db")

    plan = dict(lan.plan("web", "new"))
    plan["web"] = Guarded((*lan.vips, *lan.plan("x", "y", "z")["z"].vips), (lan.interface,))
    guard.install(plan)

    assert answers(lan, YES) == ALL
    assert await guard.inspect() == GuardState(frozenset({"web"}), 0)
    guard.install(lan.plan("web", "db"))  # db is back, and must be opened anew
    assert await guard.inspect() == GuardState(frozenset({"web"}), 0)


async def test_a_vip_that_leaves_the_plan_is_let_go(lan: Lan, guard: KernelGuard, echo: Echo) -> None:
    lan.hold_vips()
    guard.install(lan.plan("web"))
    guard.install({"web": Guarded((lan.vip6,), (lan.interface,))})
    assert lan.neighbour.answered(lan.vip4.ip, YES) is not None
    assert lan.neighbour.echoed(lan.vip4.ip, YES)
    assert lan.neighbour.answered(lan.vip6.ip, NO) is None
    assert not lan.neighbour.echoed(lan.vip6.ip, NO)
    guard.remove()
    guard.remove()
    assert answers(lan, YES) == ALL


@pytest.mark.parametrize("interface", ["eth0.10", "bond-a.7", "we@ird"], indirect=True)
async def test_any_interface_name(lan: Lan, guard: KernelGuard, echo: Echo) -> None:
    lan.hold_vips()
    guard.install(lan.plan("web"))
    assert answers(lan, NO) == NONE
    await opened(guard, "web")
    assert answers(lan, YES) == ALL


async def test_an_interface_that_is_not_there_is_named_and_taken_in_later(lan: Lan, guard: KernelGuard) -> None:
    plan = {"web": Guarded(lan.vips, (lan.interface, "later0"))}
    assert guard.install(plan) == ("later0",)
    await opened(guard, "web")
    lan.node.run("ip link add later0 type veth peer name later1")
    with pytest.raises(GuardMissing):
        await guard.inspect()
    assert guard.install(plan) == ()
    assert await guard.inspect() == GuardState(frozenset({"web"}), 0)


async def test_an_interface_that_is_made_anew_is_guarded_again(lan: Lan, guard: KernelGuard) -> None:
    lan.node.run("ip link add again0 type veth peer name again1")
    plan = {"web": Guarded(lan.vips, (lan.interface, "again0"))}
    guard.install(plan)
    await opened(guard, "web")
    lan.node.run("ip link del again0")
    guard.install(plan)
    lan.node.run("ip link add again0 type veth peer name again1")
    lan.node.run("ip link set again0 up")
    lan.node.run("ip link set again1 up")
    assert guard.install(plan) == ()
    await guard.shut({"web"})
    with PacketSocket("again0") as wire, pytest.raises(ProviderError, match="No buffer space"):
        wire.send([arp.announcement(lan.vip4.ip, lan.mac)])


async def test_a_vip_on_lo_is_guarded_where_it_comes_in(lan: Lan, guard: KernelGuard, echo: Echo) -> None:
    lan.node.run("ip addr add 10.77.0.100/32 dev lo")
    lan.node.run("ip addr add fd77::100/128 dev lo")
    guard.install(lan.plan("web"))
    for vip in lan.vips:
        assert not lan.neighbour.echoed(vip.ip, NO)
    await opened(guard, "web")
    for vip in lan.vips:
        assert lan.neighbour.echoed(vip.ip, YES)


async def test_two_daemons_in_one_namespace(lan: Lan, guard: KernelGuard) -> None:
    other = KernelGuard("another cluster")
    guard.install({"web": Guarded((lan.vip4,), (lan.interface,))})
    other.install({"web": Guarded((lan.vip6,), (lan.interface,))})
    await opened(guard, "web")
    assert (await guard.inspect()).open_groups == {"web"}
    assert (await other.inspect()).open_groups == set()
    assert lan.neighbour.answered(lan.vip6.ip, NO) is None
    other.remove()
    other.close()


async def test_plans_that_cannot_be_installed(lan: Lan, guard: KernelGuard) -> None:
    both = {"a": Guarded((lan.vip4,), (lan.interface,)), "b": Guarded((lan.vip4,), (lan.interface,))}
    with pytest.raises(ProviderError, match="'a' and of group 'b'"):
        guard.install(both)
    with pytest.raises(ProviderError, match="1000 groups"):
        guard.install({f"g{number}": Guarded((), ()) for number in range(1001)})


async def test_a_thousand_vips_cost_as_much_as_one(lan: Lan, guard: KernelGuard) -> None:
    vips = tuple(type(lan.vip4)(f"10.78.{number // 250}.{number % 250}/16") for number in range(1000))
    wire = Counting(guard._socket)
    guard._socket = wire  # type: ignore[assignment]
    costs = []
    for plan in (lan.plan("web"), {"web": Guarded(vips, (lan.interface,))}):
        guard.install(plan)
        wire.sent.clear()
        for number in range(10):
            await opened(guard, "web", slot=number & 1)
        costs.append(list(wire.sent))
    assert (await guard.inspect()).open_groups == {"web"}
    assert costs[0], "something is sent"
    assert costs[1] == costs[0]
