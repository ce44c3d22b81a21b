"""Links, addresses and routes over rtnetlink (linux/rtnetlink.h, if_addr.h, if_link.h)."""

from __future__ import annotations

import errno
import socket
import struct
import sys
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Final

from providers.base import Vip
from providers.linux.attributes import attribute, attributes, string, text, u32
from providers.linux.netlink import CREATE, REPLACE, Message, NetlinkError, Socket

NEW_LINK, DELETE_LINK, GET_LINK = 16, 17, 18
NEW_ADDRESS, DELETE_ADDRESS, GET_ADDRESS = 20, 21, 22
NEW_ROUTE, DELETE_ROUTE, _GET_ROUTE = 24, 25, 26

_LINK: Final = struct.Struct("=BxHiII")
_ADDRESS: Final = struct.Struct("=BBBBI")
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_LIFETIME: Final = struct.Struct("=IIII")
_UP, _LOOPBACK, _LOWER_UP = 0x1, 0x8, 0x10000
_SECONDARY, _NO_DAD, _DAD_FAILED, _PERMANENT, _NO_PREFIX_ROUTE = 0x01, 0x02, 0x08, 0x80, 0x200
_ETHERNET: Final = 1
MAIN_TABLE: Final = 254
_UNICAST, _LOCAL = 1, 2
_NO_ROUTE: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL)  # none, or one that refuses
_GATEWAYS: Final = {5, 9, 18, 30}  # RTA_GATEWAY, RTA_MULTIPATH, RTA_VIA, RTA_NH_ID
_SCOPE_LINK, SCOPE_HOST = 253, 254
_FIB_MATCH: Final = 0x2000  # RTM_F_FIB_MATCH: answer with the route itself, not with what follows from it
_LABELS: Final = (":vip", ":v")  # ends of labels; what precedes the colon must be the interface's name
_LONGEST_NAME: Final = 15
PROTOCOL: Final = 118  # the origin of the routes that anyvip adds, as `ip route` shows it; nobody else's (rtnetlink.h)

Network = IPv4Network | IPv6Network

# The kernel's errors for an address or a route that it does not have, and for an interface that is gone.
NOT_THERE: Final = (errno.EADDRNOTAVAIL, errno.ENODEV, errno.ESRCH)


@dataclass(frozen=True, slots=True)
class Link:
    """An interface. `mac` is None when it has no Ethernet address."""

    index: int
    name: str
    up: bool
    carrier: bool
    loopback: bool
    mac: bytes | None


@dataclass(frozen=True, slots=True)
class Address:
    """An address on an interface, with its prefix length. Kept as bytes, because a host can have thousands."""

    index: int
    packed: bytes
    prefix: int
    duplicate: bool
    permanent: bool = False  # without a lifetime, so not added by anyvip
    secondary: bool = False  # IPv4: the kernel removes it along with the first address of its network

    @property
    def interface(self) -> Vip:
        """Return the address with its network."""
        if len(self.packed) == 4:
            return IPv4Interface((IPv4Address(self.packed), self.prefix))
        return IPv6Interface((IPv6Address(self.packed), self.prefix))


@dataclass(frozen=True, slots=True)
class Route:
    """Where the kernel sends packets for a destination: a unicast route of the main table, or an address of its own."""

    prefix: int
    protocol: int
    local: bool
    gateway: bool


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Seconds until the kernel removes the address (`valid`), and until it no longer prefers it as a source."""

    valid: int
    preferred: int


# --- reading -----------------------------------------------------------------------------------------------------


def _find_named(kernel: Socket, name: str) -> Message:
    return kernel.get(Message(GET_LINK, 0, _LINK.pack(0, 0, 0, 0, 0) + text(3, name)), f"interface {name}")


def links(kernel: Socket) -> dict[str, Link]:
    """Return every interface by name. Raises NetlinkError."""
    listed = kernel.dump(Message(GET_LINK, 0, _LINK.pack(0, 0, 0, 0, 0)), "list interfaces")
    return {link.name: link for link in map(parse_link, listed)}


def link(kernel: Socket, name: str) -> Link:
    """Return the interface of this name. Raises NetlinkError (ENODEV when there is none)."""
    return parse_link(_find_named(kernel, name))


def find_name(kernel: Socket, name: str) -> str:
    """Return the interface's name, also if an alternative name is given; what is given when there is none of it.

    Raises NetlinkError.
    """
    try:
        return link(kernel, name).name
    except NetlinkError as error:
        if error.code in NOT_THERE:
            return name
        raise


def index_of(kernel: Socket, name: str) -> int:
    """Return the index of the interface of this name. Raises NetlinkError (ENODEV when there is none)."""
    number: int = _LINK.unpack_from(_find_named(kernel, name).body)[2]
    return number


def addresses(kernel: Socket, index: int = 0) -> list[Address]:
    """Return every address of one interface, or of all when index is 0. Raises NetlinkError."""
    listed = kernel.dump(Message(GET_ADDRESS, 0, _ADDRESS.pack(0, 0, 0, 0, index)), "list addresses")
    return [address for address in map(parse_address, listed) if address is not None]


def default_interface(kernel: Socket, version: int) -> int | None:
    """Return the index of the interface of the default route with the lowest metric. Raises NetlinkError."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    listed = kernel.dump(Message(_GET_ROUTE, 0, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)), "list routes")
    found: list[tuple[int, int]] = []
    for message in listed:
        _, length, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(message.body)
        told = dict(attributes(message.body, _ROUTE.size))
        if (length, table, kind) == (0, MAIN_TABLE, _UNICAST) and 4 in told:
            found.append((_number(told.get(6, b"\0\0\0\0")), _number(told[4])))
    return min(found)[1] if found else None


def find_route(kernel: Socket, packed: bytes) -> Route | None:
    """Return the route to an address, None when there is none or one that refuses. Raises NetlinkError."""
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    head = _ROUTE.pack(family, len(packed) * 8, 0, 0, 0, 0, 0, 0, _FIB_MATCH)
    try:
        found = kernel.get(Message(_GET_ROUTE, 0, head + attribute(1, packed)), "look up a route")
    except NetlinkError as error:
        if error.code in _NO_ROUTE:
            return None
        raise
    _, length, _, _, _, protocol, _, kind, _ = _ROUTE.unpack_from(found.body)
    told = dict(attributes(found.body, _ROUTE.size))
    if kind not in (_UNICAST, _LOCAL):
        return None
    return Route(length, protocol, local=kind == _LOCAL, gateway=bool(told.keys() & _GATEWAYS))


def parse_link(message: Message) -> Link:
    """Parse the link that a listing or a notification is about."""
    _, hardware, index, flags, _ = _LINK.unpack_from(message.body)
    told = dict(attributes(message.body, _LINK.size))
    mac = told.get(1, b"")
    return Link(
        index=index,
        name=string(told.get(3, b"")),
        up=bool(flags & _UP),
        carrier=bool(flags & _LOWER_UP),
        loopback=bool(flags & _LOOPBACK),
        mac=mac if hardware == _ETHERNET and len(mac) == 6 else None,
    )


def parse_address(message: Message) -> Address | None:
    """Parse the address that a listing or a notification is about; None for other families."""
    family, prefix, flags, _, index = _ADDRESS.unpack_from(message.body)
    told = dict(attributes(message.body, _ADDRESS.size))
    # IFA_LOCAL is the address itself, IFA_ADDRESS a point-to-point peer's. IPv6 has only the latter if they are equal.
    local = told.get(2, told.get(1, b""))
    flags = _number(told[8]) if 8 in told else flags
    if (family, len(local)) not in {(socket.AF_INET, 4), (socket.AF_INET6, 16)}:
        return None
    secondary = family == socket.AF_INET and bool(flags & _SECONDARY)  # for IPv6 the same bit has another meaning
    return Address(index, local, prefix, bool(flags & _DAD_FAILED), bool(flags & _PERMANENT), secondary)


# --- changing ----------------------------------------------------------------------------------------------------


def put_address(index: int, name: str, packed: bytes, lifetime: Lifetime) -> Message:
    """Add the address by itself to the interface of this index and name, or give it this lifetime.

    Its prefix is its whole length, so it is never the first of a network in which other addresses are secondary. It
    brings no route along. For IPv4, its scope keeps the kernel from choosing it as a source, and its label keeps
    SIOCGIFADDR (netdevice(7)) from taking it for the interface's address. IPv6 has neither, and skips duplicate address
    detection, which takes a second.
    """
    version4 = len(packed) == 4
    flags = _NO_PREFIX_ROUTE | (0 if version4 else _NO_DAD)
    told = attribute(6, _LIFETIME.pack(lifetime.preferred, lifetime.valid, 0, 0)) + u32(8, flags)
    head = _head(index, packed, 8 * len(packed), SCOPE_HOST if version4 else 0)
    label = next((name + end for end in _LABELS if len(name + end) <= _LONGEST_NAME), "") if version4 else ""
    return Message(NEW_ADDRESS, CREATE | REPLACE, head + told + (text(3, label) if label else b""))


def delete_address(address: Address) -> Message:
    """Remove an address from its interface."""
    return Message(DELETE_ADDRESS, 0, _head(address.index, address.packed, address.prefix))


def _head(index: int, packed: bytes, prefix: int, scope: int = 0) -> bytes:
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return _ADDRESS.pack(family, prefix, 0, scope, index) + attribute(2, packed) + attribute(1, packed)


def put_route(index: int, network: Network, metric: int) -> Message:
    """Add a route to hosts on this link, marked as ours."""
    return Message(NEW_ROUTE, CREATE | REPLACE, _route(index, network, metric))


def delete_route(index: int, network: Network, metric: int) -> Message:
    """Remove a route that `put_route` added, and no other."""
    return Message(DELETE_ROUTE, 0, _route(index, network, metric))


def _route(index: int, network: Network, metric: int) -> bytes:
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    head = _ROUTE.pack(family, network.prefixlen, 0, 0, MAIN_TABLE, PROTOCOL, _SCOPE_LINK, _UNICAST, 0)
    return head + attribute(1, network.network_address.packed) + u32(4, index) + u32(6, metric)


def _number(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder)
