"""Checks of this host for what would keep VIPs from working, before a failover needs them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from providers.baremetal.addresses import LocalVips
from providers.base import Finding, Level, Place, ProviderError, Vip
from providers.linux import sockdiag
from providers.linux.kernel import capabilities, highest, setting
from providers.linux.netlink import SOCK_DIAG, Socket
from providers.linux.rtnetlink import Link


def findings(vips: LocalVips, guarded: Collection[str]) -> list[Finding]:
    """Return one finding per check. `guarded`: the links that the guard stands on.

    Raises ProviderError when the kernel does not answer.
    """
    links = {link.name: link for link in vips.links()}
    found = [capabilities()]
    for interface, some in vips.places.items():
        found.append(_link(interface, links.get(interface)))
        if interface in links:
            found += _networks(vips, links[interface], some)
            found += _paths(vips, links[interface], some, guarded)
    found += _elsewhere(vips)
    found += _settings(vips.vips)
    found.append(_resets())
    return found


def _link(name: str, link: Link | None) -> Finding:
    subject = f"interface {name}"
    if link is None:
        return Finding(
            Level.ERROR,
            "baremetal.interface",
            subject,
            "does not exist",
            "create it, or set the provider's `interface`",
        )
    if not link.up:
        return Finding(Level.ERROR, "baremetal.interface", subject, "is down", f"ip link set {name} up")
    if not link.carrier:
        return Finding(
            Level.ERROR, "baremetal.interface", subject, "has no carrier", "check the cable or the switch port"
        )
    if link.mac is None and not link.loopback:
        return Finding(
            Level.WARNING, "baremetal.interface", subject, "is not Ethernet: VIPs are bound there, but not announced"
        )
    return Finding(Level.OK, "baremetal.interface", subject, "is up")


def _networks(vips: LocalVips, link: Link, some: Sequence[Vip]) -> Iterator[Finding]:
    ours = {vip.packed for vip in vips.vips}
    own = [a.interface for a in vips.addresses() if a.index == link.index and a.packed not in ours]
    alone = [vip for vip in some if not any(a.version == vip.version and vip.ip in a.network for a in own)]
    if not alone or link.loopback:
        return
    first = min(alone, key=lambda vip: vip.network.num_addresses)
    single = first.network.num_addresses == 1
    yield Finding(
        Level.WARNING,
        "baremetal.network",
        f"VIP {first}",
        f"{link.name} has no address in the VIP's network: other hosts need a route to the VIP"
        if single
        else f"{link.name} has no address in {first.network}: only hosts of that network on this link reach the VIP, "
        "and others if a router there sends it here",
        "write the VIP with the prefix length of its network"
        if single
        else "choose a VIP in a network of this host, or see that a router sends it to the active node",
    )


def _paths(vips: LocalVips, link: Link, some: Sequence[Vip], guarded: Collection[str]) -> Iterator[Finding]:
    """Check for kernel settings that prevent binding, answer past the guard, or drop packets to the VIP."""
    if any(vip.version == 6 for vip in some) and _on(f"ipv6/conf/{link.name}/disable_ipv6", unknown=False):
        name = f"net.ipv6.conf.{link.name}.disable_ipv6"
        yield Finding(
            Level.ERROR, "baremetal.disable_ipv6", name, "is 1: no IPv6 VIP can be bound there", f"sysctl {name}=0"
        )
    if link.loopback or all(vip.version == 6 for vip in some):
        return
    others = [name for name in _others_next_to(vips, link, some) if name not in guarded]
    if others and highest("arp_ignore", others[0]) == 0:
        yield Finding(
            Level.WARNING,
            "baremetal.arp_ignore",
            f"interface {others[0]}",
            f"is in the VIP's network, too, and answers ARP for addresses on {link.name}, past the guard",
            f"sysctl net.ipv4.conf.{others[0]}.arp_ignore=1, or name both in guard_interfaces",
        )
    if len(_find_networked(vips)) > 1 and highest("rp_filter", link.name) == 1:
        yield Finding(
            Level.WARNING,
            "baremetal.rp_filter",
            f"net.ipv4.conf.{link.name}.rp_filter",
            "is strict: packets to the VIP are dropped if this host reaches the client by another interface",
            f"sysctl net.ipv4.conf.{link.name}.rp_filter=2 (and net.ipv4.conf.all.rp_filter: the higher one counts)",
        )


def _find_networked(vips: LocalVips) -> set[int]:
    """Return the indexes of the links that have an IPv4 address of their own."""
    ours = {vip.packed for vip in vips.vips}
    loopback = {link.index for link in vips.links() if link.loopback}
    return {a.index for a in vips.addresses() if a.interface.version == 4 and a.packed not in ours} - loopback


def _others_next_to(vips: LocalVips, link: Link, some: Sequence[Vip]) -> list[str]:
    """Return the names of the other links that have an address in the network of a VIP."""
    names = {each.index: each.name for each in vips.links()}
    near = {a.index for a in vips.addresses() if any(vip.ip in a.interface.network for vip in some)}
    return sorted(names[index] for index in near & _find_networked(vips) - {link.index} if index in names)


def _elsewhere(vips: LocalVips) -> Iterator[Finding]:
    placement = vips.look()
    if placement.place is Place.ELSEWHERE:
        yield Finding(
            Level.ERROR,
            "baremetal.vip_elsewhere",
            "VIPs",
            placement.where,
            "remove them there: only the daemon may bind them",
        )


def _settings(vips: Sequence[Vip]) -> Iterator[Finding]:
    for version in sorted({vip.version for vip in vips}):
        key = f"ipv{version}/ip_nonlocal_bind"
        name = f"net.{key.replace('/', '.')}"
        if _on(key):
            yield Finding(
                Level.OK, "baremetal.ip_nonlocal_bind", name, "services can bind to the VIP before it is here"
            )
        else:
            yield Finding(
                Level.WARNING,
                "baremetal.ip_nonlocal_bind",
                name,
                "is 0: a service that binds to the VIP itself cannot start on a standby",
                f"sysctl {name}=1, or start the service in the prepare hook",
            )


def _resets() -> Finding:
    subject = "resetting connections"
    try:
        with Socket(SOCK_DIAG) as kernel:
            if sockdiag.is_supported(kernel):
                return Finding(Level.OK, "baremetal.connection_reset", subject, "the kernel can do it")
    except ProviderError as error:
        return Finding(Level.ERROR, "baremetal.connection_reset", subject, str(error))
    return Finding(
        Level.WARNING,
        "baremetal.connection_reset",
        subject,
        f"{sockdiag.UNSUPPORTED}: clients of a former owner wait for a timeout",
    )


def _on(key: str, *, unknown: bool = True) -> bool:
    """Return whether a sysctl is on; `unknown` when this kernel lacks the protocol."""
    value = setting(key)
    return unknown if value is None else value != 0
