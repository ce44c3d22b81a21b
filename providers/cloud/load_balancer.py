"""Load balancers that have the VIP and follow the health endpoint, so no API is needed (docs/load-balancers.md).

Some leave the VIP as the destination of the packets that they pass on (direct server return, floating IP, passthrough).
For those the active node binds it where no neighbour sees it. A load balancer that finds no healthy node sends to all
nodes: the guard on the links where packets come in lets a standby refuse them.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_interface

from pydantic import BaseModel, ConfigDict, Field

from providers.baremetal.provider import BareMetal, BareMetalOptions, InterfaceName
from providers.base import Finding, Grant, Guarded, Level, Place, Placement, StaleGrant, Vip
from providers.linux.kernel import highest


class LoadBalancerOptions(BaseModel):
    """The configuration keys of `type: load_balancer`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    local: bool = Field(
        default=False,
        description="Whether the load balancer leaves the VIP as the destination, so that the active node needs it.",
    )
    interface: InterfaceName = Field(default="lo", description="Where the VIP is bound, if `local`.")
    ingress: tuple[InterfaceName, ...] | None = Field(
        default=None,
        min_length=1,
        description="Where the load balancer's packets come in. A standby refuses packets for the VIP there. Default: "
        "if `local`, all links but loopback (if `interface` is not lo, that one), else none.",
    )


class LoadBalancer:
    """The provider type `load_balancer`, which the registry opens."""

    Options = LoadBalancerOptions

    @classmethod
    def open(
        cls, options: LoadBalancerOptions, *, group: str, vips: tuple[Vip, ...], clock: Callable[[], float]
    ) -> OnTheNode | OnTheLoadBalancer:
        """Make the provider of one group. Raises ProviderError."""
        if options.local:
            return OnTheNode(options, group, vips, clock)
        return OnTheLoadBalancer(options, vips, clock)


class OnTheNode(BareMetal):
    """The VIPs, each without its network, on an interface of the active node, without announcements."""

    def __init__(
        self, options: LoadBalancerOptions, group: str, vips: tuple[Vip, ...], clock: Callable[[], float]
    ) -> None:
        """See `BareMetal`."""
        alone = tuple(ip_interface(vip.ip) for vip in vips)  # on lo, the kernel would treat the whole network as local
        bound = BareMetalOptions(interface=options.interface, guard_interfaces=options.ingress)
        super().__init__(bound, group, alone, clock, announced=False)

    async def preflight(self) -> list[Finding]:
        """Return what would keep the VIPs from working here, or take them from the load balancer."""
        return [*await super().preflight(), *await self._in_thread(self._answering)]

    def _answering(self) -> list[Finding]:
        """Return a finding for each link whose neighbours would learn that the VIP is here."""
        found = []
        for link, vips in self._local.audience():
            loose = [key for key, least in (("arp_ignore", 1), ("arp_announce", 2)) if highest(key, link.name) < least]
            if loose and any(vip.version == 4 for vip in vips):
                text = f"is in the VIP's network, where the active node would answer for it ({' and '.join(loose)})"
                remedy = f"sysctl net.ipv4.conf.{link.name}.arp_ignore=1 net.ipv4.conf.{link.name}.arp_announce=2"
                found.append(Finding(Level.WARNING, "load_balancer.arp", f"interface {link.name}", text, remedy))
        return found


class OnTheLoadBalancer:
    """VIPs that only the load balancer has, so there is nothing to bind here (`providers.base.Provider`)."""

    def __init__(self, options: LoadBalancerOptions, vips: tuple[Vip, ...], clock: Callable[[], float]) -> None:
        """`clock` reads CLOCK_BOOTTIME in seconds."""
        self._ingress = options.ingress or ()
        self._vips = vips
        self._clock = clock

    def guarded(self) -> Guarded:
        """Return what a standby refuses, if `ingress` names links: another program might have bound the VIP here."""
        return Guarded(self._vips if self._ingress else (), self._ingress)

    async def bind(self, grant: Grant) -> None:
        """Bind nothing: the health endpoint answers 200 next. Raises StaleGrant when the grant has ended."""
        if grant.expires_at <= self._clock():
            raise StaleGrant(f"group {grant.group}: the grant has ended")

    async def unbind(self) -> None:
        """Do nothing: the health endpoint already answers 503."""

    async def inspect(self) -> Placement:
        """Return HERE: the VIPs lead to the node that answers 200."""
        return Placement(Place.HERE, "as the load balancer finds by probing")

    async def preflight(self) -> list[Finding]:
        """Return what the operator must check at the load balancer."""
        text = "is what the load balancer follows: nothing is needed here"
        remedy = "check that it probes /health, and what it does when no node is healthy (docs/load-balancers.md)"
        return [Finding(Level.OK, "load_balancer.probe", "the health endpoint", text, remedy)]
