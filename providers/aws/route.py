"""VIPs outside the VPC that routes lead to a network interface, across subnets and zones (docs/aws.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import Annotated, Any, Final, Self

from pydantic import Field, StringConstraints, model_validator

from providers.aws import preflight
from providers.aws.ec2 import Ec2, Ec2Mechanism, Ec2Options, code
from providers.aws.preflight import Looking, check_source, may, outside_vpc
from providers.base import Finding, Level, Place, Placement, ProviderError, Topic, Vip
from providers.cloud.calls import CallRefused, together
from providers.cloud.deadline import Deadline

RouteTableId = Annotated[str, StringConstraints(pattern=r"^rtb-[0-9a-z]+$")]
PrefixListId = Annotated[str, StringConstraints(pattern=r"^pl-[0-9a-z]+$")]

_POLICY: Final = "route"
_NOT_THERE: Final = frozenset({"InvalidParameterValue", "InvalidRoute.NotFound"})  # ReplaceRoute has answered with both
_THERE: Final = "RouteAlreadyExists"
_NAMED: Final = 5  # the most routes that one message names
_KINDS: Final = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")


class RouteOptions(Ec2Options):
    """The configuration keys of `type: aws.route`. With `role_arn` the route tables can be in another account."""

    route_tables: tuple[RouteTableId, ...] | None = Field(
        default=None, min_length=1, description="Route tables that lead to the VIPs. Set this or `route_table_tags`."
    )
    route_table_tags: Mapping[str, str] | None = Field(
        default=None,
        min_length=1,
        description="Tags of the route tables that lead to the VIPs. Tables of this VPC that have all tags are used.",
    )
    prefix_list: PrefixListId | None = Field(
        default=None,
        description="Prefix list that contains the VIPs, used as the only destination. Default: a route for each VIP.",
    )

    @model_validator(mode="after")
    def _one_way_to_find_tables(self) -> Self:
        if (self.route_tables is None) == (self.route_table_tags is None):
            raise ValueError("set either route_tables or route_table_tags")
        return self


class Route(Ec2Mechanism):
    """Points the routes of one group's VIPs at this node's network interface (`providers.cloud.mover.Mover`)."""

    Options = RouteOptions

    def __init__(self, ec2: Ec2, vips: tuple[Vip, ...], options: RouteOptions) -> None:
        self._ec2 = ec2
        self._vips = vips
        self._options = options
        self._destinations = [options.prefix_list] if options.prefix_list else [_whole(vip) for vip in vips]
        self._tables = list(options.route_tables or ())

    def close(self) -> None:
        """Close the connections."""
        self._ec2.close()

    async def warm(self, until: Deadline) -> None:
        """Ask for this node's network interface. `look` then finds the tables and opens a connection."""
        await self._ec2.warm(until)

    async def move(self, until: Deadline) -> None:
        """Point every route in every table here, all at the same time, each with its own retries."""
        ours = (await self._ec2.nic(until)).id
        known = self._tables
        moving = [self._point_all(known, ours, until)]
        if self._options.route_table_tags is not None:  # the operator might have tagged another table since
            moving.append(self._find_tables(until))
        await together(moving)
        await self._point_all([table for table in self._tables if table not in known], ours, until)

    async def leave(self, until: Deadline) -> None:
        """Do nothing: no call deletes a route only while it still leads here, and the next owner replaces it."""

    async def look(self, until: Deadline) -> Placement:
        """Ask in one call where every route in every table leads."""
        ours = (await self._ec2.nic(until)).id
        astray = [found for table in await self._describe(until) for found in self._astray(table, ours)]
        if not astray:
            return Placement(Place.HERE)
        place = Place.ELSEWHERE if any(target for _, target in astray) else Place.NOWHERE
        said = [f"{route} leads to {target}" if target else f"{route} is missing" for route, target in astray]
        more = f" and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
        return Placement(place, ", ".join(said[:_NAMED]) + more)

    async def preflight(self) -> list[Finding]:
        """Return what would prevent the routes from moving here."""
        looks = {
            Topic("aws.prefix_list", "VIPs"): self._outside,
            Topic("aws.route_table", "route tables"): self._check_present,
            Topic("aws.permission", "permissions"): self._check_allowed,
        }
        return await preflight.run_checks(self._ec2, self._options, looks)

    # --- routes

    async def _find_tables(self, until: Deadline) -> None:
        await self._describe(until)

    async def _point_all(self, tables: Sequence[str], ours: str, until: Deadline) -> None:
        """Point all routes here. Raises ProviderError with the number of routes that did not move; the others did."""
        routes = [(table, destination) for table in tables for destination in self._destinations]
        work = (self._point(table, destination, ours, until) for table, destination in routes)
        failed = [each for each in await asyncio.gather(*work, return_exceptions=True) if each is not None]
        for error in failed:
            if not isinstance(error, ProviderError):
                raise error
        if failed:
            said = "; ".join(str(each) for each in failed[:_NAMED])
            raise ProviderError(f"{len(failed)} of {len(routes)} routes did not move: {said}") from failed[0]

    async def _point(self, table: str, destination: str, ours: str, until: Deadline) -> None:
        route: dict[str, Any] = {"RouteTableId": table, kind(destination): destination, "NetworkInterfaceId": ours}
        try:
            await self._ec2.ask("replace_route", until, **route)
        except CallRefused as refused:
            if code(refused) not in _NOT_THERE:
                raise
            await self._create(route, until)

    async def _create(self, route: Mapping[str, Any], until: Deadline) -> None:
        try:
            await self._ec2.ask("create_route", until, **route)
        except CallRefused as refused:
            if code(refused) != _THERE:
                raise
            await self._ec2.ask("replace_route", until, **route)  # another process has created it since

    async def _describe(self, until: Deadline) -> list[Any]:
        """Describe every configured route table. Raises ProviderError when there is none."""
        if self._options.route_tables is not None:
            which: dict[str, Any] = {"RouteTableIds": list(self._options.route_tables)}
        else:
            tags = [
                {"Name": f"tag:{key}", "Values": [value]}
                for key, value in (self._options.route_table_tags or {}).items()
            ]
            vpc = (await self._ec2.nic(until)).vpc
            which = {"Filters": [{"Name": "vpc-id", "Values": [vpc]}, *tags]}
        found = await self._ec2.list("describe_route_tables", "RouteTables", until, **which)
        if not found:
            raise ProviderError(f"no route table has the tags {dict(self._options.route_table_tags or {})}")
        self._tables = [table["RouteTableId"] for table in found]
        return found

    def _astray(self, table: Any, ours: str) -> list[tuple[str, str]]:
        """Return the routes of one table that do not lead here, with their targets (empty for a missing route)."""
        targets = {destination_of(route): route for route in table["Routes"]}
        found = []
        for destination in self._destinations:
            route = targets.get(destination, {})
            target = str(
                next((value for key, value in route.items() if key.endswith(("InterfaceId", "GatewayId"))), "")
            )
            if target != ours:
                found.append((f"{destination} in {table['RouteTableId']}", target))
        return found

    # --- preflight

    async def _outside(self, looking: Looking) -> list[Finding]:
        found = [check_source(looking), *(outside_vpc(looking.nic, _whole(vip)) for vip in self._vips)]
        if self._options.prefix_list is None:
            return found
        listed = await self._ec2.list(
            "get_managed_prefix_list_entries", "Entries", looking.until, PrefixListId=self._options.prefix_list
        )
        networks = [ip_network(entry["Cidr"]) for entry in listed]
        for vip in self._vips:
            if not any(vip.ip in network for network in networks):
                message = f"is not in {self._options.prefix_list}"
                found.append(
                    Finding(Level.ERROR, "aws.prefix_list", f"VIP {vip.ip}", message, "add it or correct `prefix_list`")
                )
        return found

    async def _check_present(self, looking: Looking) -> list[Finding]:
        """Check whether the tables belong to this node's VPC and already have the routes."""
        findings = []
        for table in await self._describe(looking.until):
            subject = f"route table {table['RouteTableId']}"
            there = {destination_of(route) for route in table["Routes"]}
            missing = [destination for destination in self._destinations if destination not in there]
            if table["VpcId"] != looking.nic.vpc:
                message = f"belongs to {table['VpcId']}, but this node is in {looking.nic.vpc}"
                findings.append(
                    Finding(Level.ERROR, "aws.route_table", subject, message, "name tables of this node's VPC")
                )
            elif missing:
                message = f"has no route for {', '.join(missing)} yet: the first failover creates it in one more call"
                findings.append(
                    Finding(
                        Level.WARNING, "aws.route_table", subject, message, "create it now for a faster first failover"
                    )
                )
            else:
                findings.append(Finding(Level.OK, "aws.route_table", subject, "has the routes"))
        return findings

    async def _check_allowed(self, looking: Looking) -> list[Finding]:
        """Check the permissions on every table, because a policy can name only some of them."""
        destination = self._destinations[0]
        asked = []
        for table in await self._describe(looking.until):
            target = {"RouteTableId": table["RouteTableId"], "NetworkInterfaceId": looking.nic.id}
            route = {**target, kind(destination): destination, "DryRun": True}
            asked += [may(looking, action, _POLICY, **route) for action in ("ReplaceRoute", "CreateRoute")]
        return await together(asked)


def kind(destination: str) -> str:
    """Return the name of EC2's parameter for a destination."""
    if destination.startswith("pl-"):
        return "DestinationPrefixListId"
    return "DestinationIpv6CidrBlock" if ":" in destination else "DestinationCidrBlock"


def destination_of(route: Mapping[str, Any]) -> str:
    """Return the destination of a described route: a network as `ipaddress` writes it, or a prefix list's id."""
    text = str(next((route[name] for name in _KINDS if name in route), ""))
    return text if text.startswith("pl-") or not text else str(ip_network(text))


def _whole(vip: Vip) -> str:
    return f"{vip.ip}/{vip.max_prefixlen}"
