"""The local routes that Google's guest agent adds, one to each address that a load balancer forwards here.

The agent adds them on every backend, so a standby would answer its own packets to the VIP itself. The layout is in
linux/rtnetlink.h.
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
import sys
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from providers.base import ProviderError, Vip
from providers.linux.attributes import attribute, attributes, u32
from providers.linux.netlink import CREATE, ROUTE, Message, Socket

_log = logging.getLogger(__name__)

_NEW, _DELETE, _GET = 24, 25, 26
_HEAD: Final = struct.Struct("=BBBBBBBBI")  # family, lengths, tos, table, protocol, scope, type, flags
_DESTINATION, _INTERFACE = 1, 4
_LOCAL_TABLE: Final = 255
_LOCAL_TYPE: Final = 2
_ANY_SCOPE: Final = 255
_HOST_SCOPE: Final = 254
_AGENT: Final = 66  # the protocol number that the agent marks its routes with
_GROUPS: Final = (7, 11)  # RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True, slots=True)
class AgentRoute:
    """A local route of the agent, to an address (packed) through the interface with this index."""

    destination: bytes
    index: int


def agent_routes(kernel: Socket) -> list[AgentRoute]:
    """Return all routes that the agent has added. Raises NetlinkError."""
    heads = [_HEAD.pack(family, 0, 0, 0, _LOCAL_TABLE, _AGENT, 0, _LOCAL_TYPE, 0) for family in _FAMILIES]
    listed = [message for head in heads for message in kernel.dump(Message(_GET, 0, head), "list local routes")]
    return [route for route in map(parse, listed) if route is not None]


def parse(message: Message) -> AgentRoute | None:
    """Parse the agent's route that a listing or a notification is about; None when it is not the agent's, or gone."""
    if message.kind != _NEW:
        return None
    _, _, _, _, table, protocol, _, kind, _ = _HEAD.unpack_from(message.body)
    if (table, protocol, kind) != (_LOCAL_TABLE, _AGENT, _LOCAL_TYPE):
        return None
    told = dict(attributes(message.body, _HEAD.size))
    return AgentRoute(told.get(_DESTINATION, b""), int.from_bytes(told.get(_INTERFACE, b""), sys.byteorder))


def deletion(route: AgentRoute) -> Message:
    """Pack the removal of the agent's route. It spares the kernel's own, which has another protocol."""
    family = socket.AF_INET if len(route.destination) == 4 else socket.AF_INET6
    head = _HEAD.pack(family, len(route.destination) * 8, 0, 0, _LOCAL_TABLE, _AGENT, _ANY_SCOPE, _LOCAL_TYPE, 0)
    return Message(_DELETE, 0, head + attribute(_DESTINATION, route.destination) + u32(_INTERFACE, route.index))


def addition(route: AgentRoute) -> Message:
    """Pack the addition of the route as the agent adds it, so that the agent takes it for its own."""
    family = socket.AF_INET if len(route.destination) == 4 else socket.AF_INET6
    head = _HEAD.pack(family, len(route.destination) * 8, 0, 0, _LOCAL_TABLE, _AGENT, _HOST_SCOPE, _LOCAL_TYPE, 0)
    return Message(_NEW, CREATE, head + attribute(_DESTINATION, route.destination) + u32(_INTERFACE, route.index))


class GuestRoutes:
    """The agent's routes to some VIPs. On a standby they are removed as soon as the kernel reports one.

    They are put back where the VIPs are served: next to the addresses, the agent itself could not add them and would
    complain.
    """

    def __init__(self, vips: tuple[Vip, ...]) -> None:
        """Open the sockets; `close` closes them. Raises NetlinkError."""
        self._serving = False
        self._removed: set[AgentRoute] = set()
        self._vips = {vip.packed for vip in vips}
        self._kernel = Socket(ROUTE)
        self.news = Socket(ROUTE, groups=_GROUPS)

    def close(self) -> None:
        """Close the sockets. The routes stay as they are."""
        self._kernel.close()
        self.news.close()

    def found(self) -> list[AgentRoute]:
        """Return the agent's routes to our VIPs. Raises NetlinkError."""
        return [route for route in agent_routes(self._kernel) if route.destination in self._vips]

    def serve(self) -> None:
        """Put back the routes that were removed, and leave new ones alone. Raises NetlinkError."""
        self._serving = True
        removed, self._removed = self._removed, set()
        if removed:
            gone = (errno.EEXIST, errno.ENODEV, errno.ENETDOWN)  # the route exists, or the interface is gone or down
            self._kernel.apply([addition(each) for each in removed], "put local routes back", ignore=gone)

    def sweep(self) -> None:
        """Remove the routes, and from now on new ones as soon as they appear. Raises NetlinkError."""
        self._serving = False
        self._remove(self.found())

    def hear(self) -> None:
        """Read the kernel's notifications, and remove routes that have come back."""
        try:
            came: list[AgentRoute] = []
            while (messages := self.news.received()) is not None:
                came += [route for route in map(parse, messages) if route is not None]
            if not self._serving:
                self._remove([route for route in came if route.destination in self._vips])
        except OSError:  # notifications were lost, so read the routes
            self._sweep()
        except ProviderError as error:
            _log.warning("the guest agent's local routes: %s", error)

    def _sweep(self) -> None:
        try:
            if not self._serving:
                self._remove(self.found())
        except ProviderError as error:
            _log.warning("the guest agent's local routes: %s", error)

    def _remove(self, routes: list[AgentRoute]) -> None:
        if routes:
            self._kernel.apply(
                [deletion(each) for each in routes], "remove local routes", ignore=(errno.ESRCH, errno.ENODEV)
            )
            self._removed.update(routes)
            names = ", ".join(str(_address(each.destination)) for each in routes)
            _log.info("removed the guest agent's local routes to %s: this node does not serve", names)


def _address(packed: bytes) -> IPv4Address | IPv6Address:
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)
