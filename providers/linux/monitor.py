"""Changes that others make in this host's kernel: addresses, routes, links, the guard (rtnetlink(7), nfnetlink).

A change is a hint, not proof: read the kernel's state after every `OVERFLOW`, and from time to time in any case.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Final

from providers.linux import nft_listing as listing
from providers.linux import nftables as nft
from providers.linux import rtnetlink
from providers.linux.bpf import (
    AND,
    EVERYTHING,
    JUMP_IF_EQUAL,
    LOAD_BYTE,
    LOAD_HALF,
    LOAD_WORD,
    RETURN,
    Instruction,
    Jump,
    Label,
    assemble,
)
from providers.linux.netlink import NETFILTER, ROUTE, Message, Socket
from providers.linux.rtnetlink import (
    DELETE_ADDRESS,
    DELETE_LINK,
    DELETE_ROUTE,
    MAIN_TABLE,
    NEW_ADDRESS,
    NEW_LINK,
    NEW_ROUTE,
    PROTOCOL,
    SCOPE_HOST,
    Link,
)

# RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE
_ROUTE_GROUPS: Final = (1, 5, 7, 9, 11)
_LOCAL_ORIGINS: Final = (2, 3, 4, 9, 16, PROTOCOL)  # kernel, boot, static, ra, dhcp: not those of routing daemons
_DEPRECATED_NO_DAD: Final = 0x22  # the flags of an IPv6 VIP of ours
_NFTABLES_GROUPS: Final = (7,)  # NFNLGRP_NFTABLES


class ChangeKind(StrEnum):
    """What has changed."""

    ADDRESS_GONE = "address gone"  # for any reason: another program, this one, or the end of its lifetime
    ADDRESS_NEW = "address new"  # of the host's own
    ROUTES_CHANGED = "routes changed"  # in the main table
    LINK_NEW = "link new"
    LINK_GONE = "link gone"
    LINK_UP = "link up"  # it is up and has a carrier
    LINK_DOWN = "link down"
    LINK_MAC_NEW = "link has a new MAC"
    GUARD_CHANGED = "guard changed"  # by another program
    OVERFLOW = "overflow"  # some notifications were lost: read the whole state


@dataclass(frozen=True, slots=True)
class Change:
    """One change. `interface` is empty when it concerns none; `detail` is the address, or the change of the guard."""

    kind: ChangeKind
    interface: str = ""
    detail: str = ""


async def changes(table: str = "", own_port: int = 0) -> AsyncGenerator[Change, None]:
    """Yield every change from now on. Ends only when closed. Raises ProviderError when the kernel cannot be asked.

    `table` is the guard's, empty when there is none. Changes that the netlink socket `own_port` made to it are skipped.
    """
    told: asyncio.Queue[Change] = asyncio.Queue()
    with ExitStack() as open_now:
        route = open_now.enter_context(Socket(ROUTE, groups=_ROUTE_GROUPS))
        route.keep(_worth_reading())
        known = _Known()
        known.begin()  # after the groups were joined, so that nothing is missed in between
        _listen(open_now, route, known.changed, partial(_overflow, known), told)
        if table:
            guard = open_now.enter_context(Socket(NETFILTER, groups=_NFTABLES_GROUPS))
            guard.keep(_not_from(own_port))
            _listen(open_now, guard, partial(_guard_changed, table), _report_overflow, told)
        while True:
            yield await told.get()


def links_up() -> frozenset[str]:
    """Return the names of the links that are up and have a carrier now. Raises ProviderError."""
    with Socket(ROUTE) as kernel:
        return frozenset(link.name for link in rtnetlink.links(kernel).values() if link.up and link.carrier)


Reading = Callable[[Message], Iterator[Change]]


def _listen(
    open_now: ExitStack,
    source: Socket,
    read: Reading,
    overflow: Callable[[], Iterator[Change]],
    told: asyncio.Queue[Change],
) -> None:
    def ready() -> None:
        try:
            while (messages := source.received()) is not None:
                for message in messages:
                    for change in read(message):
                        told.put_nowait(change)
        except OSError:  # ENOBUFS: the socket's buffer was full
            for change in overflow():
                told.put_nowait(change)

    loop = asyncio.get_running_loop()
    loop.add_reader(source.fileno(), ready)
    open_now.callback(loop.remove_reader, source.fileno())


def _report_overflow() -> Iterator[Change]:
    yield Change(ChangeKind.OVERFLOW)


def _overflow(known: _Known) -> Iterator[Change]:
    yield Change(ChangeKind.OVERFLOW)
    yield from known.compared()


# --- addresses, routes and links ---------------------------------------------------------------------------------


@dataclass(slots=True)
class _Known:
    """The links and addresses as last reported. The kernel notifies of any change; only some of them matter."""

    by_index: dict[int, Link] = field(default_factory=dict)
    addresses: set[tuple[int, bytes, int]] = field(default_factory=set)  # link's index, address, prefix

    def begin(self) -> None:
        self.by_index = self._now()
        with Socket(ROUTE) as kernel:
            self.addresses = {(a.index, a.packed, a.prefix) for a in rtnetlink.addresses(kernel)}

    def changed(self, message: Message) -> Iterator[Change]:
        """Yield what is new in a notification."""
        if message.kind in (NEW_ROUTE, DELETE_ROUTE):
            yield Change(ChangeKind.ROUTES_CHANGED)
        elif message.kind in (NEW_ADDRESS, DELETE_ADDRESS):
            yield from self._address(message)
        elif message.body[0] == 0:  # AF_UNSPEC; a bridge reports its ports in messages of its own family
            link = rtnetlink.parse_link(message)
            yield from self._link(link.index, link if message.kind == NEW_LINK else None)

    def compared(self) -> Iterator[Change]:
        """Yield what has changed while notifications were lost."""
        now = self._now()
        for index in sorted(now.keys() | self.by_index.keys()):
            yield from self._link(index, now.get(index))

    def _now(self) -> dict[int, Link]:
        with Socket(ROUTE) as kernel:
            return {link.index: link for link in rtnetlink.links(kernel).values()}

    def _address(self, message: Message) -> Iterator[Change]:
        address = rtnetlink.parse_address(message)
        if address is None:
            return
        link, which = self.by_index.get(address.index), (address.index, address.packed, address.prefix)
        kind = ChangeKind.ADDRESS_NEW if message.kind == NEW_ADDRESS else ChangeKind.ADDRESS_GONE
        if kind is ChangeKind.ADDRESS_GONE or which not in self.addresses:
            yield Change(kind, link.name if link else "", str(address.interface.ip))
        (self.addresses.add if kind is ChangeKind.ADDRESS_NEW else self.addresses.discard)(which)

    def _link(self, index: int, now: Link | None) -> Iterator[Change]:
        before = self.by_index.pop(index, None)
        if now is not None:
            self.by_index[index] = now
        if before is not None and (now is None or now.name != before.name):
            yield Change(ChangeKind.LINK_GONE, before.name)
            before = None
        if now is None:
            return
        if before is None:
            yield Change(ChangeKind.LINK_NEW, now.name)
        was_up = before is not None and before.up and before.carrier
        if before is not None and now.mac != before.mac:
            yield Change(ChangeKind.LINK_MAC_NEW, now.name)
        if was_up != (now.up and now.carrier):
            yield Change(ChangeKind.LINK_DOWN if was_up else ChangeKind.LINK_UP, now.name)


def _worth_reading() -> list[Instruction]:
    """Keep changes of links, of the host's own addresses and of its routes, and drop what refreshing a VIP causes."""
    address, six, route, keep, drop = map(Label, ("address", "six", "route", "keep", "drop"))
    kinds = {NEW_LINK: keep, DELETE_LINK: keep, DELETE_ADDRESS: keep, NEW_ADDRESS: address}
    kinds |= {NEW_ROUTE: route, DELETE_ROUTE: route}
    return assemble(
        [
            (LOAD_HALF, 0, 0, 4),
            *(Jump(_as_loaded("=H", kind), label) for kind, label in kinds.items()),
            (RETURN, 0, 0, 0),
            address,
            (LOAD_BYTE, 0, 0, 16),  # ifa_family
            Jump(socket.AF_INET, None, six),
            (LOAD_BYTE, 0, 0, 19),  # ifa_scope
            Jump(SCOPE_HOST, drop, keep),
            six,
            (LOAD_BYTE, 0, 0, 18),  # ifa_flags
            (AND, 0, 0, _DEPRECATED_NO_DAD),
            Jump(_DEPRECATED_NO_DAD, drop, keep),
            route,
            (LOAD_BYTE, 0, 0, 20),  # rtm_table
            Jump(MAIN_TABLE, None, drop),
            (LOAD_BYTE, 0, 0, 21),  # rtm_protocol
            *(Jump(origin, keep) for origin in _LOCAL_ORIGINS),
            drop,
            (RETURN, 0, 0, 0),
            keep,
            (RETURN, 0, 0, EVERYTHING),
        ]
    )


# --- the guard ---------------------------------------------------------------------------------------------------

_TOLD: Final = {
    nft.kind(nft.NEW_TABLE): "table changed",
    nft.kind(nft.DELETE_TABLE): "table deleted",
    nft.kind(nft.NEW_CHAIN): "chain added",
    nft.kind(nft.DELETE_CHAIN): "chain deleted",
    nft.kind(nft.NEW_RULE): "rule added",
    nft.kind(nft.DELETE_RULE): "rule deleted",
    nft.kind(nft.DELETE_SET): "set deleted",
    nft.kind(nft.NEW_ELEMENT): "element added",
    nft.kind(nft.DELETE_ELEMENT): "element deleted",
}


def _guard_changed(table: str, message: Message) -> Iterator[Change]:
    what = _TOLD.get(message.kind)
    if what is not None and listing.table_of(message) == table:
        yield Change(ChangeKind.GUARD_CHANGED, detail=what)


def _not_from(port: int) -> list[Instruction]:
    """Drop notifications of this socket's own changes: the kernel reports a transaction under its maker's address."""
    return [
        (LOAD_WORD, 0, 0, 12),
        (JUMP_IF_EQUAL, 0, 1, _as_loaded("=I", port)),
        (RETURN, 0, 0, 0),
        (RETURN, 0, 0, EVERYTHING),
    ]


def _as_loaded(form: str, value: int) -> int:
    """Return a header field in host order as BPF loads it: in network order."""
    return int.from_bytes(struct.pack(form, value), "big")
