"""VIPs outside every subnet, which one route in each route table leads to a machine (docs/azure.md).

Each write changes one route, never a whole table, so the changes of other processes survive. All tables are written at
the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from copy import deepcopy
from ipaddress import ip_address, ip_network
from typing import Final

from pydantic import Field
from pydantic.networks import IPvAnyAddress

from providers.azure import permissions, preflight
from providers.azure.network import CHANGED_PAUSE_SECONDS, Changed, Named
from providers.azure.nic import SETTLED, UNDER_WAY, Json, state
from providers.azure.own_nic import LEAST_THREADS, AzureMechanism, MoverParts, NicOptions
from providers.base import Finding, Level, Place, Placement, ProviderError, Vip
from providers.cloud.calls import together
from providers.cloud.deadline import Deadline

TABLES: Final = "routeTables"
_APPLIANCE: Final = "VirtualAppliance"
_MOST_ROUTES: Final = 400  # of a table (Microsoft: "Azure subscription and service limits")


class RouteOptions(NicOptions):
    """The configuration keys of `type: azure.route`."""

    route_tables: tuple[str, ...] = Field(
        min_length=1, description="Route tables that lead to the VIPs, by name or id."
    )
    next_hop: tuple[IPvAnyAddress, ...] = Field(
        default=(),
        strict=False,
        max_length=2,
        description="Addresses of this machine that the routes point to, one for each IP version. Default: the first "
        "of each version that its network interface has.",
    )


class Route(AzureMechanism):
    """Points the routes of one group's VIPs to this machine (`providers.cloud.mover.Mover`)."""

    Options = RouteOptions

    def __init__(self, options: RouteOptions, here: MoverParts) -> None:
        """Prepare without any request."""
        self._options = options
        self._here = here
        self._network = here.network
        self._vips = here.vips

    @classmethod
    def threads(cls, options: RouteOptions, vips: tuple[Vip, ...]) -> int:  # noqa: ARG003
        """Return how many calls can run at the same time: one for each table."""
        return max(LEAST_THREADS, len(options.route_tables))

    def close(self) -> None:
        """Close all connections."""
        self._network.close()

    async def warm(self, until: Deadline) -> None:
        """Find this machine's addresses. `look` then opens the connections and fetches the token."""
        await self._hops(until)

    async def move(self, until: Deadline) -> None:
        """Point all routes here, in all tables at the same time. Completes every table, then raises the first error."""
        hops = await self._hops(until)
        await together(self._point(table, hops, until) for table in await self._tables(until))

    async def leave(self, until: Deadline) -> None:
        """Do nothing: the next owner points the routes to itself, and this node's guard drops traffic until then."""

    async def look(self, until: Deadline) -> Placement:
        """Ask for all tables and report where their routes lead."""
        hops = await self._hops(until)
        tables = await self._tables(until)
        found = await together(self._network.route_table(table, until) for table in tables)
        wrong = [said for table in found for vip in self._vips if (said := _wrong(table, vip, hops[vip.version]))]
        if not wrong:
            return Placement(Place.HERE)
        astray = [said for place, said in wrong if place is Place.ELSEWHERE]
        if astray:
            return Placement(Place.ELSEWHERE, ", ".join(astray))
        return Placement(Place.NOWHERE, ", ".join(said for _, said in wrong))

    async def preflight(self) -> list[Finding]:
        """Return what would prevent the routes from leading here."""
        until = self._here.calls.within(preflight.LOOK_SECONDS)
        found, own = await preflight.machine_and_nic(self._network, self._here.own, until)
        if own is None:
            return found
        found.append(_forwarding(own))
        needs = [(own["id"], permissions.READ_NIC)]
        for which in await self._tables(until):
            needs += [(which.id, permissions.READ_TABLE), (which.id, permissions.WRITE_ROUTE)]
            try:
                table = await self._network.route_table(which, until)
            except ProviderError as error:
                remedy = "check `route_tables` and the scope of the role"
                found.append(Finding(Level.ERROR, "azure.route_table", f"route table {which.name}", str(error), remedy))
            else:
                found.append(_table(table, self._vips))
        return found + await permissions.findings(self._network, needs, until)

    async def _tables(self, until: Deadline) -> list[Named]:
        machine = await self._network.machine(until)
        return [Named.of(name, TABLES, machine) for name in self._options.route_tables]

    async def _hops(self, until: Deadline) -> Mapping[int, str]:
        """Return the address that routes point to, by IP version. Raises ProviderError when this machine has none."""
        versions = {vip.version for vip in self._vips}
        hops: dict[int, str] = {hop.version: str(hop) for hop in self._options.next_hop}
        if versions - hops.keys():
            interface = await self._here.own.interface(until)
            for version in versions - hops.keys():
                address = interface.address_for(version)
                if address is None:
                    raise ProviderError(f"this machine has no IPv{version} address that routes could point to")
                hops[version] = str(address)
        return hops

    async def _point(self, which: Named, hops: Mapping[int, str], until: Deadline) -> None:
        """Write the routes of one table one after the other: Azure does one operation on a table at a time."""
        table = await self._at_rest(which, until)
        for vip in self._vips:
            while _wrong(table, vip, hops[vip.version]):
                fresh = _with_hop(table, vip, hops[vip.version])
                try:
                    await self._network.write_route(which, fresh["name"], fresh, until)
                    break
                except Changed:
                    await asyncio.sleep(CHANGED_PAUSE_SECONDS)
                    table = await self._at_rest(which, until)

    async def _at_rest(self, which: Named, until: Deadline) -> Json:
        """Return the table when none of the group's routes in it is being written."""

        async def read() -> Json:
            table = await self._network.route_table(which, until)
            under_way = any(state(found) in UNDER_WAY for vip in self._vips if (found := _route_to(table, vip)))
            return table if not under_way else {**table, "properties": {"provisioningState": "Updating"}}

        return await self._network.settled(read)


def _route_to(table: Json, vip: Vip) -> Json | None:
    """Return the table's route to exactly this VIP, or None."""
    for route in table["properties"].get("routes") or []:
        try:
            network = ip_network(route["properties"]["addressPrefix"])
        except ValueError:
            continue  # it is a service tag
        if network.num_addresses == 1 and network.network_address == vip.ip:
            return dict(route)
    return None


def _wrong(table: Json, vip: Vip, hop: str) -> tuple[Place, str] | None:
    """Return where the table leads instead of here, or None when it leads here."""
    route = _route_to(table, vip)
    if route is None:
        return Place.NOWHERE, f"{table['name']} has no route to {vip.ip}"
    leads_to = route["properties"].get("nextHopIpAddress") or route["properties"]["nextHopType"]
    if leads_to != route["properties"]["nextHopType"] and ip_address(leads_to) == ip_address(hop):
        settled = state(route) == SETTLED
        return None if settled else (Place.NOWHERE, f"{table['name']}: the route to {vip.ip} is {state(route)}")
    return Place.ELSEWHERE, f"{table['name']} leads to {leads_to}"


def _with_hop(table: Json, vip: Vip, hop: str) -> Json:
    """Return the route with a new next hop and everything else unchanged."""
    route = deepcopy(_route_to(table, vip))
    if route is None:
        name = f"anyvip-{str(vip.ip).replace('.', '-').replace(':', '-')}"
        route = {"name": name, "properties": {"addressPrefix": f"{vip.ip}/{vip.max_prefixlen}"}}
    route["properties"] |= {"nextHopType": _APPLIANCE, "nextHopIpAddress": hop}
    return route


def _forwarding(nic: Json) -> Finding:
    if nic["properties"].get("enableIPForwarding"):
        return Finding(Level.OK, "azure.ip_forwarding", "IP forwarding", f"is enabled on {nic['name']}")
    remedy = f"az network nic update --ids {nic['id']} --ip-forwarding true"
    message = f"is not enabled on {nic['name']}: Azure drops packets to addresses that are not the machine's own"
    return Finding(Level.ERROR, "azure.ip_forwarding", "IP forwarding", message, remedy)


def _table(table: Json, vips: tuple[Vip, ...]) -> Finding:
    subject = f"route table {table['name']}"
    if not table["properties"].get("subnets"):
        remedy = "associate it with the clients' subnets"
        return Finding(
            Level.WARNING,
            "azure.route_table",
            subject,
            "is not associated with any subnet, so it has no effect",
            remedy,
        )
    missing = [str(vip.ip) for vip in vips if _route_to(table, vip) is None]
    routes = table["properties"].get("routes") or []
    if len(routes) + len(missing) > _MOST_ROUTES:
        message = f"would have more than {_MOST_ROUTES} routes with the VIPs"
        return Finding(
            Level.ERROR, "azure.route_table", subject, message, "remove some, or ask Microsoft for a higher limit"
        )
    if missing:
        return Finding(
            Level.OK,
            "azure.route_table",
            subject,
            f"has no route to {', '.join(missing)} yet: the first promotion creates it",
        )
    return Finding(Level.OK, "azure.route_table", subject, "has the routes")
