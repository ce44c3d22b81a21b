"""Where VIPs belong on this host: their interfaces, and the links whose neighbours must know them. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from providers.base import NotYet, ProviderError, Vip
from providers.linux.rtnetlink import Address, Link


def interface_of(
    vip: Vip, links: Collection[Link], addresses: Iterable[Address], default_routes: Mapping[int, int | None]
) -> str:
    """Return the interface that has an address of its own in the VIP's network, else the one of the default route.

    `default_routes`: interface index by IP version. Raises NotYet when there is neither, and ProviderError for a
    link-local VIP, whose network is on every link.
    """
    if vip.ip.is_link_local:
        raise ProviderError(f"VIP {vip} is link-local, and each link has that network: set the provider's `interface`")
    names = {link.index: link.name for link in links}
    for address in addresses:
        if _next_to(address, vip) and address.index in names:
            return names[address.index]
    index = default_routes.get(vip.version)
    if index is None or index not in names:
        raise NotYet(
            f"no interface has an address in the network of VIP {vip} and there is no default route: "
            "set the provider's `interface`"
        )
    return names[index]


def guarded_links(
    places: Mapping[str, Collection[Vip]], links: Iterable[Link], addresses: Iterable[Address]
) -> tuple[str, ...]:
    """Return the links that packets for these VIPs cross.

    These are the VIPs' interfaces, and the other links that are in the network of a VIP: Linux answers ARP for any of
    its addresses on any of its links. For VIPs on `lo`, it is every link that is not a loopback.
    """
    by_name = {link.name: link for link in links}
    names = {link.index: link.name for link in by_name.values() if not link.loopback}
    shared = [a for a in addresses if a.index in names and a.prefix < 8 * len(a.packed)]  # VIPs of ours are alone
    near = [(names[address.index], address.interface.network) for address in shared]
    found: set[str] = set()
    for interface, vips in places.items():
        if interface in by_name and by_name[interface].loopback:
            found.update(names.values())
        else:
            found.add(interface)
            found.update(name for name, network in near if any(vip.ip in network for vip in vips))
    return tuple(sorted(found))


def announcing_links(
    places: Mapping[str, Sequence[Vip]], links: Iterable[Link], addresses: Sequence[Address]
) -> list[tuple[Link, list[Vip]]]:
    """Return each Ethernet link with the VIPs that its neighbours must know by MAC.

    These are the VIPs on the link itself, and those on `lo` whose network the link is in. Packets for other VIPs on
    `lo` come from a router, which knows this host by MAC, not the VIP.
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
    """Return a VIP that is this host's own address, as `ADDRESS/PREFIX on INTERFACE`, or None.

    Removing such an address would cut the host off. It has no lifetime and is the first of its network on its
    interface; for IPv6, which has no order, the only one. Any other address that a program left there is unbound like
    our own.
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


def _next_to(own: Address, vip: Vip) -> bool:
    """Return whether an address of the host's own has the VIP in its network."""
    return len(own.packed) == len(vip.packed) and own.packed != vip.packed and vip.ip in own.interface.network
