"""What on this host would keep VIPs from working, found before a failover needs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from providers import sockdiag
from providers.base import Finding, Level, Place, ProviderError, Vip
from providers.capabilities import explained, missing_capabilities
from providers.local import LocalVips
from providers.netlink import SOCK_DIAG, Socket
from providers.rtnetlink import Link

_SYSCTL = Path("/proc/sys/net")


def findings(vips: LocalVips) -> list[Finding]:
    """Everything that was looked at, one line each. Raises ProviderError when the kernel does not answer."""
    links = {link.name: link for link in vips.links()}
    found = [_capabilities()]
    for interface, some in vips.places.items():
        found.append(_link(interface, links.get(interface)))
        if interface in links:
            found += _networks(vips, links[interface], some)
    found += _elsewhere(vips)
    found += _settings(vips.vips)
    found.append(_resets())
    return found


def _capabilities() -> Finding:
    missing = missing_capabilities()
    if missing:
        return Finding(Level.ERROR, "capabilities", explained(missing))
    return Finding(Level.OK, "capabilities", "CAP_NET_ADMIN and CAP_NET_RAW are there")


def _link(name: str, link: Link | None) -> Finding:
    subject = f"interface {name}"
    if link is None:
        return Finding(Level.ERROR, subject, "does not exist", "create it, or set the provider's `interface`")
    if not link.up:
        return Finding(Level.ERROR, subject, "is down", f"ip link set {name} up")
    if not link.carrier:
        return Finding(Level.ERROR, subject, "has no carrier", "check the cable or the switch port")
    if link.mac is None and not link.loopback:
        return Finding(Level.WARNING, subject, "is not Ethernet: VIPs are bound there, but nobody is told")
    return Finding(Level.OK, subject, "is up")


def _networks(vips: LocalVips, link: Link, some: Sequence[Vip]) -> Iterator[Finding]:
    ours = {vip.packed for vip in vips.vips}
    own = [a.interface for a in vips.addresses() if a.index == link.index and a.packed not in ours]
    alone = [vip for vip in some if not any(a.version == vip.version and vip.ip in a.network for a in own)]
    hosts = [vip for vip in alone if vip.network.num_addresses == 1]
    if hosts and not link.loopback:
        yield Finding(
            Level.WARNING,
            f"VIP {hosts[0]}",
            f"{link.name} has no address in a network with it: neighbours must be routed to it",
            "give the VIP with the prefix length of its network",
        )
    shared = [vip for vip in some if vip.version == 4 and vip.network in {a.network for a in own}]
    if (
        shared
        and not _on("ipv4/conf/all/promote_secondaries")
        and not _on(f"ipv4/conf/{link.name}/promote_secondaries")
    ):
        yield Finding(
            Level.WARNING,
            "promote_secondaries",
            f"if {shared[0].ip} ever comes to {link.name} before the host's own address, removing it removes both",
            "sysctl net.ipv4.conf.all.promote_secondaries=1",
        )


def _elsewhere(vips: LocalVips) -> Iterator[Finding]:
    placement = vips.look()
    if placement.place is Place.ELSEWHERE:
        yield Finding(Level.ERROR, "VIPs", placement.where, "remove them there: only the daemon may bind them")


def _settings(vips: Sequence[Vip]) -> Iterator[Finding]:
    for version in sorted({vip.version for vip in vips}):
        key = f"ipv{version}/ip_nonlocal_bind"
        name = f"net.{key.replace('/', '.')}"
        if _on(key):
            yield Finding(Level.OK, name, "services can bind to the VIP before it is here")
        else:
            yield Finding(
                Level.WARNING,
                name,
                "is 0: a service that binds to the VIP itself cannot start on a standby",
                f"sysctl {name}=1, or start the service in the promote hook",
            )


def _resets() -> Finding:
    subject = "resetting connections"
    try:
        with Socket(SOCK_DIAG) as kernel:
            if sockdiag.supported(kernel):
                return Finding(Level.OK, subject, "the kernel can")
    except ProviderError as error:
        return Finding(Level.ERROR, subject, str(error))
    return Finding(Level.WARNING, subject, f"{sockdiag.UNSUPPORTED}: clients of a former owner wait for a timeout")


def _on(key: str) -> bool:
    try:
        return (_SYSCTL / key).read_text().strip() != "0"
    except OSError:  # no such protocol in this kernel
        return True
