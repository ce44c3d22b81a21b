"""The routes that answers to clients in a VIP's own network need, where this host has none (docs/bare-metal.md).

A route of ours has a protocol number of its own and a metric that any other route beats, so the host's routes always
come first. Each group has a metric of its own. So groups that need a route to the same network do not remove each
other's.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Final
from zlib import crc32

from providers.base import Vip
from providers.linux import rtnetlink
from providers.linux.netlink import Socket
from providers.linux.rtnetlink import PROTOCOL, Network, Route

_LAST_METRICS: Final = 0x7F00_0000  # for IPv6, the kernel adds its own at 256 and those of routers at 1024


class Routes:
    """Keeps one group's routes. Not safe for use by several threads at a time: it uses the caller's socket."""

    def __init__(self, kernel: Socket, group: str) -> None:
        self._kernel = kernel
        self._metric = _LAST_METRICS | crc32(group.encode()) & 0xFF_FFFF
        self._put: dict[Network, int] = {}  # the networks that we have added a route to, and the link's index

    def keep(self, index: int, networks: Iterable[Network]) -> None:
        """Add a route on this link to each network that needs one, and remove ours where the host has one by now.

        A link that is down takes no route: call this again when it is up. Raises NetlinkError.
        """
        for network in networks:
            found = list(self._list_found(network))
            if any(_covers(route, network) for route in found):
                if network in self._put:
                    self._remove(self._put.pop(network), network)
            elif self._put.get(network) != index or not any(_is_ours(route, network) for route in found):
                route = rtnetlink.put_route(index, network, self._metric)
                self._kernel.apply([route], f"add a route to {network}", ignore=(errno.ENETDOWN,))
                self._put[network] = index

    def drop(self, index: int, networks: Iterable[Network]) -> None:
        """Remove our routes to these networks, an earlier life's as well. Raises NetlinkError."""
        for network in networks:
            self._remove(self._put.pop(network, index), network)

    def _list_found(self, network: Network) -> Iterator[Route]:
        """Yield where the kernel sends packets for some hosts of the network that are not this host."""
        for packed in _choose_hosts(network):
            route = rtnetlink.find_route(self._kernel, packed)
            if route is not None and not route.local:
                yield route

    def _remove(self, index: int, network: Network) -> None:
        route = rtnetlink.delete_route(index, network, self._metric)
        self._kernel.apply([route], f"remove the route to {network}", ignore=rtnetlink.NOT_THERE)


def list_networks(vips: Iterable[Vip]) -> tuple[Network, ...]:
    """Return the networks that the VIPs are in, without those of one address: such a VIP names none."""
    return tuple(dict.fromkeys(vip.network for vip in vips if vip.network.num_addresses > 1))


def _is_ours(route: Route, network: Network) -> bool:
    return route.protocol == PROTOCOL and route.prefix == network.prefixlen


def _covers(route: Route, network: Network) -> bool:
    """Return whether the host has a route for the network: to its hosts directly, or made for just this network."""
    if route.protocol == PROTOCOL:
        return False
    return route.prefix >= network.prefixlen or not route.gateway


def _choose_hosts(network: Network) -> list[bytes]:
    """Return up to three addresses for hosts: the first, the last, and one between them."""
    first, last = int(network.network_address), int(network.broadcast_address)
    if last - first > 1:
        first, last = first + 1, last - 1
    return [ip_address(each).packed for each in dict.fromkeys((first, (first + last) // 2, last))]
