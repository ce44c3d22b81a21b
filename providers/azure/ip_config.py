"""VIPs that are secondary IP configurations, moved from one machine's network interface to another's (docs/azure.md).

An address must be free before it can be added. So one write removes the configuration where it is, and when Azure has
completed that, a second write adds it here with everything attached to it. Nothing else of either interface changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from typing import Final

from pydantic import Field

from providers.azure import permissions, preflight
from providers.azure.identity import Interface
from providers.azure.network import CHANGED_PAUSE_SECONDS, Changed, Named
from providers.azure.nic import (
    SETTLED,
    UNDER_WAY,
    Json,
    address_of,
    configurations,
    holding,
    new_configuration,
    state,
    with_added,
    without,
)
from providers.azure.own_nic import NICS, AzureMechanism, Candidates, MoverParts, NicOptions
from providers.base import Finding, Level, Place, Placement, ProviderError, Vip
from providers.cloud.calls import together
from providers.cloud.deadline import Deadline

_log = logging.getLogger(__name__)

_MOST_CONFIGURATIONS: Final = 256  # of a NIC (Microsoft: "Azure subscription and service limits")


class IpConfigOptions(NicOptions):
    """The configuration keys of `type: azure.ip_config`."""

    nics: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Network interfaces that can have the VIPs, by name or id. Default: all in this machine's resource "
        "group, which needs the permission to read them all.",
    )


class IpConfig(AzureMechanism):
    """Moves the VIPs of one group between network interfaces (`providers.cloud.mover.Mover`)."""

    Options = IpConfigOptions

    def __init__(self, options: IpConfigOptions, here: MoverParts) -> None:
        """Prepare without any request."""
        self._here = here
        self._network = here.network
        self._own = here.own
        self._wanted = tuple(str(vip.ip) for vip in here.vips)
        self._candidates = Candidates(options.nics, here.network, here.own)
        self._seen: dict[str, Json] = {}  # by address: its configuration in the NIC that was last seen to have it

    def close(self) -> None:
        """Close all connections."""
        self._network.close()

    async def warm(self, until: Deadline) -> None:
        """Find this node's network interface. `look` then opens the connections and fetches the token."""
        await self._own.named(until)

    async def move(self, until: Deadline) -> None:
        """Remove the VIPs where they are and add them here. Raises ProviderError."""
        while True:
            try:
                return await self._move(until)
            except Changed as changed:
                _log.info("group %s: %s; reading it again", self._here.group, changed)
                await asyncio.sleep(CHANGED_PAUSE_SECONDS)

    async def leave(self, until: Deadline) -> None:
        """Do nothing: the next owner moves the configurations, and a removal would lose what is attached to them."""

    async def look(self, until: Deadline) -> Placement:
        """Ask for this node's network interface, and for the others only if it lacks a VIP."""
        own = await self._own.read(until)
        self._remember([own])
        missing = self._missing(own)
        if not missing and state(own) == SETTLED:
            return Placement(Place.HERE)
        if not missing:
            return Placement(Place.NOWHERE, f"{own['name']} is {state(own)}")
        _, others = await self._candidates.read(until)
        self._remember(others)
        holders = sorted(nic["name"] for nic in others if holding(nic, missing))
        if holders:
            return Placement(Place.ELSEWHERE, ", ".join(holders))
        return Placement(Place.NOWHERE, f"no network interface has {', '.join(missing)}")

    async def preflight(self) -> list[Finding]:
        """Return what would prevent the VIPs from moving here."""
        until = self._here.calls.within(preflight.LOOK_SECONDS)
        found, own = await preflight.machine_and_nic(self._network, self._own, until)
        if own is None:
            return found
        try:
            _, others = await self._candidates.read(until)
            interface = await self._own.interface(until)
        except ProviderError as error:
            remedy = "check `nics` and the scope of the role"
            return [*found, Finding(Level.ERROR, "azure.other_nics", "network interfaces", str(error), remedy)]
        found += [*_inside(self._here.vips, interface), *self._check_places(own, others)]
        written = [own, *(nic for nic in others if holding(nic, self._wanted))]
        needs = [need for nic in written for need in permissions.to_write(nic)]
        return found + await permissions.findings(self._network, needs, until)

    async def _move(self, until: Deadline) -> None:
        own, others = await self._candidates.read(until)
        self._remember([own, *others])
        holders = [nic for nic in others if holding(nic, self._wanted)]
        if not holders and not self._missing(own) and state(own) == SETTLED:
            return
        # Without a holder, the VIPs might be leaving a NIC that is being written.
        leaving = holders or [nic for nic in others if state(nic) in UNDER_WAY]
        await together(self._remove(nic, until) for nic in leaving)
        await self._add(own, until)

    async def _remove(self, nic: Json, until: Deadline) -> None:
        """Remove the VIPs from a NIC, and return when Azure has completed that."""
        which = await self._which(nic, until)
        current = await self._at_rest(nic, which, until)
        if holding(current, self._wanted):
            self._remember([current])
            await self._network.write_nic(which, without(current, self._wanted), until)

    async def _add(self, nic: Json, until: Deadline) -> None:
        which = await self._which(nic, until)
        current = await self._at_rest(nic, which, until)
        missing = self._missing(current)
        if missing or state(current) != SETTLED:  # a new write repairs one that failed
            arriving = [self._seen.get(address) or self._make(current, address) for address in missing]
            await self._network.write_nic(which, with_added(current, arriving), until)

    async def _at_rest(self, nic: Json, which: Named, until: Deadline) -> Json:
        """Return the NIC as it was read, or wait for another process's write and return what the NIC is then."""
        if state(nic) not in UNDER_WAY:
            return nic
        return await self._network.settled(lambda: self._network.nic(which, until))

    async def _which(self, nic: Json, until: Deadline) -> Named:
        return Named.of(nic["id"], NICS, await self._network.machine(until))

    def _make(self, nic: Json, address: str) -> Json:
        _log.warning(
            "group %s: no network interface has had %s since this daemon started: it gets a new IP configuration "
            "without a public address and without a load balancer",
            self._here.group, address,
        )  # fmt: skip
        return new_configuration(nic, address)

    def _missing(self, nic: Json) -> list[str]:
        there = {address_of(each) for each in holding(nic, self._wanted)}
        return [address for address in self._wanted if address not in there]

    def _remember(self, nics: Iterable[Json]) -> None:
        for nic in nics:
            self._seen |= {address_of(each): each for each in holding(nic, self._wanted)}

    def _check_places(self, own: Json, others: list[Json]) -> Iterator[Finding]:
        for nic in (own, *others):
            for configuration in holding(nic, self._wanted):
                if configuration["properties"].get("primary"):
                    yield Finding(
                        Level.ERROR,
                        "azure.vip_primary",
                        f"VIP {address_of(configuration)}",
                        f"is the primary address of {nic['name']} and cannot be moved",
                        "give the machine another primary address",
                    )
        if not others:
            yield Finding(
                Level.WARNING,
                "azure.other_nics",
                "network interfaces",
                "only this node's can have the VIPs",
                "name those of the other nodes in `nics`",
            )
        if sum(vip.version == 6 for vip in self._here.vips) > 1:
            yield Finding(
                Level.ERROR,
                "azure.address_limit",
                "VIPs",
                "a network interface has at most one IPv6 configuration",
                "use azure.route",
            )
        missing = len(self._missing(own))
        if len(configurations(own)) + missing > _MOST_CONFIGURATIONS:
            message = f"with the VIPs {own['name']} would have more than {_MOST_CONFIGURATIONS} IP configurations"
            yield Finding(
                Level.ERROR, "azure.address_limit", "VIPs", message, "spread the VIPs over several groups and machines"
            )


def _inside(vips: Iterable[Vip], interface: Interface) -> Iterator[Finding]:
    for vip in vips:
        if vip.version == 4 and interface.networks and not any(vip.ip in network for network in interface.networks):
            subnet = ", ".join(map(str, interface.networks))
            remedy = "use azure.route for addresses outside the subnet"
            yield Finding(Level.ERROR, "azure.vip_subnet", f"VIP {vip.ip}", f"is not in the subnet {subnet}", remedy)
