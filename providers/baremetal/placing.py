"""Where VIPs belong on this host: their interfaces, and the links whose neighbours must hear of them. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from providers.base import ProviderError, Vip
from providers.linux.rtnetlink import Address, Link


def interface_of(
    vip: Vip, links: Collection[Link], addresses: Iterable[Address], default_routes: Mapping[int, int | None]
) -> str:
    """The interface that has an address of its own in the VIP's network, else the one of the default route.

    `default_routes`: interface index by IP version. Raises ProviderError when there is neither.
    """
    names = {link.index: link.name for link in links}
    for address in addresses:
        if _next_to(address, vip) and address.index in names:
            return names[address.index]
    index = default_routes.get(vip.version)
    if index is None or index not in names:
        raise ProviderError(
            f"no interface has an address in the network of VIP {vip} and there is no default route: "
            "set the provider's `interface`"
        )
    return names[index]


def guarded_links(interfaces: Iterable[str], links: Iterable[Link]) -> tuple[str, ...]:
    """Where packets for VIPs on these interfaces cross: there; for one on `lo` on every link that is no loopback."""
    by_name = {link.name: link for link in links}
    found: set[str] = set()
    for interface in interfaces:
        if interface in by_name and by_name[interface].loopback:
            found |= {link.name for link in by_name.values() if not link.loopback}
        else:
            found.add(interface)
    return tuple(sorted(found))


def announcing_links(
    places: Mapping[str, Sequence[Vip]], links: Iterable[Link], addresses: Sequence[Address]
) -> list[tuple[Link, list[Vip]]]:
    """Each Ethernet link, and the VIPs whose place its neighbours must know by MAC.

    Those on the link itself; of those on `lo` the ones whose network the link is in. Other VIPs on `lo` are brought by
    a router, which knows this host, not the VIP.
    """
    by_name = {link.name: link for link in links}
    found: dict[str, list[Vip]] = defaultdict(list)
    for interface, vips in places.items():
        if interface in by_name and by_name[interface].loopback:
            for link in by_name.values():
                own = [address for address in addresses if address.index == link.index]
                found[link.name] += [vip for vip in vips if any(_next_to(address, vip) for address in own)]
        else:
            found[interface] += vips
    return [(by_name[name], vips) for name, vips in found.items() if vips and name in by_name and by_name[name].mac]


def own_address(
    places: Mapping[str, Collection[Vip]], links: Iterable[Link], addresses: Sequence[Address]
) -> str | None:
    """A VIP that is this host's own address, and where, as people write it: removing it would cut the host off.

    One that stays for ever and is the first of its network on its interface (IPv6, which knows no first: the only one).
    Any other that somebody left there is unbound like our own.
    """
    names = {link.index: link.name for link in links}
    for address in addresses:
        name = names.get(address.index, "")
        if address.permanent and any(vip.packed == address.packed for vip in places.get(name, ())):
            near = [a for a in addresses if a.index == address.index and _next_to(a, address.interface)]
            alone = not near or (len(address.packed) == 4 and not address.secondary)
            if alone and address.interface.network.num_addresses > 1:
                return f"{address.interface} on {name}"
    return None


def prefix_routes(vips: Collection[Vip], addresses: Sequence[Address]) -> dict[Vip, bool]:
    """Whether each VIP must bring the route to its network along.

    Not if the host has an address of its own there: the route is that address's, and must not end with the VIP.
    """
    ours = {vip.packed for vip in vips}
    own = {address.interface.network for address in addresses if address.packed not in ours}
    return {vip: vip.network not in own for vip in vips}


def _next_to(own: Address, vip: Vip) -> bool:
    """Whether an address of the host's own has the VIP in its network."""
    return len(own.packed) == len(vip.packed) and own.packed != vip.packed and vip.ip in own.interface.network
