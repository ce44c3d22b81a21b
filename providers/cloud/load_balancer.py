"""A load balancer that follows the health endpoint needs no API: the VIP is its own (docs/load-balancers.md).

Some leave the VIP as the destination of the packets that they pass on (direct server return, floating IP, passthrough).
For those it is bound here, while active, where no neighbour sees it. Load balancers that find nobody healthy send to
everybody: the guard on the links where packets come in lets a standby refuse them.
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
    interface: InterfaceName = Field(default="lo", description="Where it is bound, if `local`.")
    ingress: tuple[InterfaceName, ...] | None = Field(
        default=None,
        min_length=1,
        description="Where the load balancer's packets come in: there a standby refuses those for the VIP. Default: if "
        "`local`, all links but loopback (with `interface` not lo, that one), else none.",
    )


class LoadBalancer:
    """How the registry makes a provider of it."""

    Options = LoadBalancerOptions

    @classmethod
    def open(
        cls, options: LoadBalancerOptions, *, group: str, vips: tuple[Vip, ...], clock: Callable[[], float]
    ) -> OnTheNode | OnTheLoadBalancer:
        """Raises ProviderError."""
        if options.local:
            return OnTheNode(options, group, vips, clock)
        return OnTheLoadBalancer(options, vips, clock)


class OnTheNode(BareMetal):
    """The VIPs, each without its network, on an interface of the active node; nobody is told."""

    def __init__(
        self, options: LoadBalancerOptions, group: str, vips: tuple[Vip, ...], clock: Callable[[], float]
    ) -> None:
        """See `BareMetal`."""
        alone = tuple(ip_interface(vip.ip) for vip in vips)  # on lo, a network would be local as a whole
        bound = BareMetalOptions(interface=options.interface, guard_interfaces=options.ingress)
        super().__init__(bound, group, alone, clock, announced=False)

    async def preflight(self) -> list[Finding]:
        """What would keep the VIPs from working here, or take them from the load balancer."""
        return [*await super().preflight(), *await self._in_thread(self._answering)]

    def _answering(self) -> list[Finding]:
        """Links whose neighbours would be told that the VIP is here."""
        found = []
        for link, vips in self._local.audience():
            loose = [key for key, least in (("arp_ignore", 1), ("arp_announce", 2)) if highest(key, link.name) < least]
            if loose and any(vip.version == 4 for vip in vips):
                text = f"is in the VIP's network, where the active node would answer for it ({' and '.join(loose)})"
                remedy = f"sysctl net.ipv4.conf.{link.name}.arp_ignore=1 net.ipv4.conf.{link.name}.arp_announce=2"
                found.append(Finding(Level.WARNING, f"interface {link.name}", text, remedy))
        return found


class OnTheLoadBalancer:
    """The VIPs are the load balancer's alone: here is nothing to bind (`providers.base.Provider`)."""

    def __init__(self, options: LoadBalancerOptions, vips: tuple[Vip, ...], clock: Callable[[], float]) -> None:
        """`clock` reads CLOCK_BOOTTIME in seconds."""
        self._ingress = options.ingress or ()
        self._vips = vips
        self._clock = clock

    def guarded(self) -> Guarded:
        """What a standby refuses, where `ingress` names links: the VIP may be on this host by somebody else's doing."""
        return Guarded(self._vips if self._ingress else (), self._ingress)

    async def bind(self, grant: Grant) -> None:
        """Nothing: the health endpoint says 200 next. Raises StaleGrant."""
        if grant.expires_at <= self._clock():
            raise StaleGrant(f"group {grant.group}: the grant has ended")

    async def unbind(self) -> None:
        """Nothing: the health endpoint says 503 already."""

    async def inspect(self) -> Placement:
        """Whoever says 200 has them."""
        return Placement(Place.HERE, "as the load balancer finds by probing")

    async def preflight(self) -> list[Finding]:
        """What must be seen to at the load balancer."""
        text = "is followed by the load balancer: nothing is needed here"
        remedy = "see that it probes /health, and what it does when nobody is healthy (docs/load-balancers.md)"
        return [Finding(Level.OK, "the health endpoint", text, remedy)]
