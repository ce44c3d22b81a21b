"""Netlink as bytes and as a socket. A refusal by the kernel becomes an error that names it."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence
from ipaddress import ip_address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import ProviderError
from providers.linux import netlink, rtnetlink
from providers.linux.attributes import attribute, attributes, nest
from providers.linux.bpf import RETURN
from providers.linux.netlink import Message, NetlinkError, Socket


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40)), max_size=8))
def test_attributes_come_back(pairs: list[tuple[int, bytes]]) -> None:
    packed = b"".join(attribute(kind, value) for kind, value in pairs)
    assert len(packed) % 4 == 0
    assert list(attributes(packed)) == pairs
    assert list(attributes(nest(7, packed))) == [(7, packed)]


@given(st.binary(max_size=100), st.integers(0, 110))
def test_malformed_attributes_do_no_harm(data: bytes, offset: int) -> None:
    assert all(value in data for _, value in attributes(data, offset))


def test_an_attribute_that_claims_more_than_there_is_is_left_out() -> None:
    assert list(attributes(attribute(1, b"whole") + struct.pack("=HH", 100, 2) + b"part")) == [(1, b"whole")]
    assert list(attributes(struct.pack("=HH", 3, 1))) == []


@pytest.mark.parametrize("vip", ["10.77.0.100/24", "192.0.2.1/32", "fd77::100/64", "2001:db8::1/128"])
def test_an_address_that_is_put_reads_back_by_itself(vip: str) -> None:
    wanted = ip_interface(vip)
    message = rtnetlink.put_address(7, "eth0", wanted.packed, rtnetlink.Lifetime(3, 3))
    address = rtnetlink.parse_address(message)
    assert address is not None
    assert (address.index, address.interface) == (7, ip_interface(wanted.ip))
    assert rtnetlink.parse_address(rtnetlink.delete_address(address)) == address


def test_what_is_told_to_the_kernel_of_a_vip() -> None:
    def told(vip: str, name: str = "eth0") -> tuple[int, int, tuple[int, ...], bytes | None]:
        message = rtnetlink.put_address(1, name, ip_address(vip).packed, rtnetlink.Lifetime(3, 0))
        found = dict(attributes(message.body, 8))
        return message.body[3], struct.unpack("=I", found[8])[0], struct.unpack("=IIII", found[6]), found.get(3)

    scope_host, no_prefix_route, no_dad = 254, 0x200, 0x02
    assert told("10.0.0.1") == (scope_host, no_prefix_route, (0, 3, 0, 0), b"eth0:vip\0")
    assert told("fd00::1") == (0, no_prefix_route | no_dad, (0, 3, 0, 0), None)
    labels = {name: told("10.0.0.1", name)[3] for name in ("a" * 11, "a" * 13, "a" * 14)}
    assert list(labels.values()) == [b"a" * 11 + b":vip\0", b"a" * 13 + b":v\0", None], "15 characters at most"


def test_other_families_have_no_address() -> None:
    assert rtnetlink.parse_address(Message(rtnetlink.NEW_ADDRESS, 0, bytes([7, 0, 0, 0, 1, 0, 0, 0]))) is None


def test_the_loopback_interface_is_listed_and_found() -> None:
    with Socket(netlink.ROUTE) as kernel:
        listed = rtnetlink.links(kernel)["lo"]
        assert listed.loopback
        assert listed.mac is None
        assert rtnetlink.link(kernel, "lo") == listed
        assert rtnetlink.index_of(kernel, "lo") == listed.index
        own = rtnetlink.addresses(kernel, listed.index)
        assert {address.index for address in own} <= {listed.index}


def test_a_refusal_names_what_was_tried_and_why() -> None:
    with (
        Socket(netlink.ROUTE) as kernel,
        pytest.raises(NetlinkError, match="interface none0: No such device") as refused,
    ):
        rtnetlink.link(kernel, "none0")
    assert refused.value.code == errno.ENODEV
    assert isinstance(refused.value, ProviderError)


def test_of_many_requests_each_refusal_is_told_with_its_place() -> None:
    good = Message(rtnetlink.GET_LINK, netlink.ACK, struct.pack("=BxHiII", 0, 0, 1, 0, 0))
    bad = Message(rtnetlink.GET_LINK, netlink.ACK, struct.pack("=BxHiII", 0, 0, 0x7FFFFFF0, 0, 0))
    with Socket(netlink.ROUTE) as kernel:
        refusals = kernel.batch([good, bad, good, bad, good], "ask for interfaces")
        assert [(refusal.index, refusal.code) for refusal in refusals] == [(1, errno.ENODEV), (3, errno.ENODEV)]
        kernel.apply([bad] * 300, "ask for interfaces", ignore=(errno.ENODEV,))
        with pytest.raises(NetlinkError, match="ask for interfaces: No such device"):
            kernel.apply([good] * 250 + [bad], "ask for interfaces")


def test_the_kernels_own_explanation_is_passed_on() -> None:
    nonsense = Message(rtnetlink.GET_ADDRESS, 0, bytes([0, 9, 9, 9, 0, 0, 0, 0]))  # a filter that the kernel rejects
    with Socket(netlink.ROUTE) as kernel, pytest.raises(NetlinkError, match=r"list nonsense: Invalid argument \(\w+"):
        kernel.dump(nonsense, "list nonsense")


def test_a_socket_that_cannot_be_had_is_an_error() -> None:
    with pytest.raises(NetlinkError, match="netlink socket 99"):
        Socket(99)


def test_nothing_told_is_nothing_received() -> None:
    with Socket(netlink.ROUTE, groups=(1,)) as listening:
        assert listening.received() is None
        assert listening.port > 0


DROP_ALL = [(RETURN, 0, 0, 0)]  # the socket's filter lets no answer in: it is lost, and nothing says so


def test_an_acknowledgement_that_is_lost_is_no_success() -> None:
    asked = Message(rtnetlink.GET_LINK, netlink.ACK, struct.pack("=BxHiII", 0, 0, 1, 0, 0))
    with Socket(netlink.ROUTE) as kernel:
        kernel.keep(DROP_ALL)
        with pytest.raises(NetlinkError, match="ask for interfaces: the kernel's answer was lost"):
            kernel.batch([asked], "ask for interfaces")


class Scripted(socket.socket):
    """A socket whose every request is answered with the next datagram, as bytes that cross a real socket."""

    def __init__(self, *datagrams: bytes) -> None:
        ours, self._kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        super().__init__(fileno=ours.detach())
        self.setblocking(False)
        self._datagrams = list(datagrams)

    def sendto(self, data: bytes, address: object) -> int:  # type: ignore[override]  # noqa: ARG002
        self._kernel.send(self._datagrams.pop(0))
        return len(data)

    def close(self) -> None:
        self._kernel.close()
        super().close()


def listing(sequence: int, bodies: Sequence[bytes], *, interrupted: bool) -> bytes:
    """The kernel's answer to the dump with this number: each body as a message, and the end."""
    multi, interrupted_flag, done = 0x2, 0x10, 3
    flags = multi | (interrupted_flag if interrupted else 0)
    parts = [(rtnetlink.NEW_LINK, body) for body in bodies] + [(done, struct.pack("=i", 0))]
    return b"".join(struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body for kind, body in parts)


def answered(*datagrams: bytes) -> Socket:
    """A socket to a kernel that answers so."""
    kernel = Socket(netlink.ROUTE)
    kernel._socket.close()
    kernel._socket = Scripted(*datagrams)
    return kernel


def test_a_list_that_changed_while_it_was_read_is_read_again() -> None:
    """Half of it is from before, half from after: what moved from one half to the other is in none."""
    torn, whole = [b"eth0"], [b"eth0", b"eth1"]
    with answered(listing(1, torn, interrupted=True), listing(2, whole, interrupted=False)) as kernel:
        listed = kernel.dump(Message(rtnetlink.GET_LINK, 0, b""), "list interfaces")
    assert [message.body for message in listed] == whole


def test_a_list_that_always_changes_is_an_error() -> None:
    with (
        answered(*(listing(number, [b"eth0"], interrupted=True) for number in range(1, 6))) as kernel,
        pytest.raises(NetlinkError, match="list interfaces: the list changed while it was read, 5 times"),
    ):
        kernel.dump(Message(rtnetlink.GET_LINK, 0, b""), "list interfaces")
