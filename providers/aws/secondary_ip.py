"""VIPs that are secondary private addresses of an elastic network interface, inside one subnet (docs/aws.md)."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any, Final

from providers.aws import preflight
from providers.aws.ec2 import Ec2, Ec2Mechanism, Ec2Options, code
from providers.aws.preflight import Looking, inside_subnet, may
from providers.base import Finding, Level, Place, Placement, Topic, Vip
from providers.cloud.calls import CallRefused, together
from providers.cloud.deadline import Deadline

_log = logging.getLogger(__name__)

_IN_USE: Final = frozenset({"InvalidParameterValue", "InvalidIPAddress.InUse"})
_ATTEMPTS: Final = 10  # at IPv6 addresses that another interface has, and gets again
_POLICY: Final = "secondary_ip"
_PAUSE_SECONDS: Final = 0.1  # between attempts: an unassigned address becomes free only some time later


class SecondaryIpOptions(Ec2Options):
    """The configuration keys of `type: aws.secondary_ip`."""


class SecondaryIp(Ec2Mechanism):
    """Moves the VIPs of one group to this node's network interface (`providers.cloud.mover.Mover`)."""

    Options = SecondaryIpOptions

    def __init__(self, ec2: Ec2, vips: tuple[Vip, ...], options: SecondaryIpOptions) -> None:
        self._ec2 = ec2
        self._options = options
        self._ipv4 = [str(vip.ip) for vip in vips if vip.version == 4]
        self._ipv6 = [str(vip.ip) for vip in vips if vip.version == 6]

    def close(self) -> None:
        """Close the connections."""
        self._ec2.close()

    async def warm(self, until: Deadline) -> None:
        """Ask for this node's network interface. `look` then makes the client and opens the connection."""
        await self._ec2.warm(until)

    async def move(self, until: Deadline) -> None:
        """Assign the VIPs to this node's network interface, wherever they are now."""
        ours = (await self._ec2.nic(until)).id
        work = []
        if self._ipv4:
            work.append(self._take_ipv4(ours, until))
        if self._ipv6:
            work.append(self._take_ipv6(ours, until))
        await together(work)

    async def leave(self, until: Deadline) -> None:
        """Unassign the IPv6 addresses, which no other node can take in one call. IPv4 addresses stay."""
        if self._ipv6:
            await self._give_ipv6((await self._ec2.nic(until)).id, self._ipv6, until)

    async def look(self, until: Deadline) -> Placement:
        """Ask for this node's network interface, and for the others only if it lacks a VIP."""
        ours = (await self._ec2.nic(until)).id
        eni = await self._ec2.interface(ours, until)
        missing = sorted({*self._ipv4, *self._ipv6} - _addresses(eni))
        if not missing:
            return Placement(Place.HERE)
        holders = await self._holders(missing, eni["SubnetId"], until)
        if holders:
            return Placement(Place.ELSEWHERE, ", ".join(f"{vip} on {eni}" for vip, eni in sorted(holders.items())))
        return Placement(Place.NOWHERE, f"no network interface has {', '.join(missing)}")

    async def preflight(self) -> list[Finding]:
        """Return what would prevent the VIPs from moving here."""
        looks = {
            Topic("aws.vip_primary", "VIPs"): self._assignable,
            Topic("aws.address_limit", "limits"): self._room,
            Topic("aws.permission", "permissions"): self._check_allowed,
        }
        return await preflight.run_checks(self._ec2, self._options, looks)

    # --- one version of addresses

    async def _take_ipv4(self, ours: str, until: Deadline) -> None:
        given: dict[str, Any] = {
            "NetworkInterfaceId": ours,
            "PrivateIpAddresses": self._ipv4,
            "AllowReassignment": True,
        }
        await self._ec2.ask("assign_private_ip_addresses", until, **given)

    async def _take_ipv6(self, ours: str, until: Deadline) -> None:
        """Unassign the VIPs where they are, then assign them here; repeat while they are not free.

        EC2 has no call that reassigns IPv6 addresses.
        """
        subnet = (await self._ec2.nic(until)).subnet
        for attempt in range(1, _ATTEMPTS + 1):
            holders = await self._holders(self._ipv6, subnet, until)
            given: dict[str, list[str]] = defaultdict(list)
            for vip, eni in holders.items():
                given[eni].append(vip)
            await together(self._give_ipv6(eni, vips, until) for eni, vips in given.items() if eni != ours)
            try:
                await self._ec2.ask("assign_ipv6_addresses", until, NetworkInterfaceId=ours, Ipv6Addresses=self._ipv6)
            except CallRefused as refused:
                if code(refused) not in _IN_USE or attempt == _ATTEMPTS:
                    raise
                _log.info("%s; asking again which interface has it", refused)
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return

    async def _give_ipv6(self, eni: str, vips: list[str], until: Deadline) -> None:
        try:
            await self._ec2.ask("unassign_ipv6_addresses", until, NetworkInterfaceId=eni, Ipv6Addresses=vips)
        except CallRefused as refused:
            if code(refused) not in _IN_USE:  # the address has already left
                raise

    async def _holders(self, vips: Iterable[str], subnet: str, until: Deadline) -> dict[str, str]:
        """Return the network interface of each VIP that is assigned to one."""
        by_filter = {
            "addresses.private-ip-address": set(vips) & set(self._ipv4),
            "ipv6-addresses.ipv6-address": set(vips) & set(self._ipv6),
        }
        asked = [self._having(name, wanted, subnet, until) for name, wanted in by_filter.items() if wanted]
        found = [eni for some in await together(asked) for eni in some]
        return {vip: eni["NetworkInterfaceId"] for eni in found for vip in _addresses(eni) & set(vips)}

    async def _having(self, name: str, wanted: Iterable[str], subnet: str, until: Deadline) -> list[Any]:
        filters = [{"Name": "subnet-id", "Values": [subnet]}, {"Name": name, "Values": sorted(wanted)}]
        return await self._ec2.list("describe_network_interfaces", "NetworkInterfaces", until, Filters=filters)

    # --- preflight

    async def _assignable(self, looking: Looking) -> list[Finding]:
        found = [inside_subnet(looking.nic, vip) for vip in (*self._ipv4, *self._ipv6)]
        filters = [{"Name": "subnet-id", "Values": [looking.nic.subnet]}]
        filters.append({"Name": "addresses.private-ip-address", "Values": self._ipv4})
        having: list[Any] = []
        if self._ipv4:
            having = await self._ec2.list(
                "describe_network_interfaces", "NetworkInterfaces", looking.until, Filters=filters
            )
        for eni in having:
            if eni["PrivateIpAddress"] in self._ipv4:
                message = f"is the primary address of {eni['NetworkInterfaceId']}, which cannot be moved"
                found.append(
                    Finding(
                        Level.ERROR, "aws.vip_primary", f"VIP {eni['PrivateIpAddress']}", message, "use another address"
                    )
                )
        return found

    async def _room(self, looking: Looking) -> list[Finding]:
        """Check whether the VIPs fit beside the addresses that this node's network interface already has."""
        kind = await self._ec2.instance_type(looking.until)
        answer = await self._ec2.ask("describe_instance_types", looking.until, own=True, InstanceTypes=[kind])
        limits = answer["InstanceTypes"][0]["NetworkInfo"]
        has = _addresses(looking.eni)
        return [
            *_fits(kind, "IPv4", has, self._ipv4, limits["Ipv4AddressesPerInterface"]),
            *_fits(kind, "IPv6", has, self._ipv6, limits["Ipv6AddressesPerInterface"]),
        ]

    async def _check_allowed(self, looking: Looking) -> list[Finding]:
        """Check the permissions by requests that change nothing, because these operations have no dry run.

        Each request asks for a state that holds already or for one that is impossible.
        """
        nic = looking.nic
        asked: list[Any] = []
        if self._ipv4:
            same = {"NetworkInterfaceId": nic.id, "PrivateIpAddresses": [nic.address]}
            asked.append(may(looking, "AssignPrivateIpAddresses", _POLICY, **same))
        if self._ipv6:
            own = [each["Ipv6Address"] for each in looking.eni.get("Ipv6Addresses", [])][:1]
            never = [str(network.network_address) for network in nic.networks if network.version == 6][:1]
            asked += [
                may(looking, action, _POLICY, NetworkInterfaceId=nic.id, Ipv6Addresses=addresses)
                for action, addresses in (("AssignIpv6Addresses", own), ("UnassignIpv6Addresses", never))
                if addresses
            ]
        return await together(asked)


def _fits(kind: str, version: str, has: set[str], vips: list[str], limit: int) -> list[Finding]:
    if not vips:
        return []
    now = {address for address in has if (":" in address) == (version == "IPv6")}
    needed = len(now | set(vips))
    subject = f"{version} addresses per network interface"
    if needed <= limit:
        return [Finding(Level.OK, "aws.address_limit", subject, f"{needed} of {limit} needed")]
    message = f"{needed} are needed, but {kind} allows {limit}"
    remedy = "use a larger instance type, fewer VIPs, or another network interface"
    return [Finding(Level.ERROR, "aws.address_limit", subject, message, remedy)]


def _addresses(eni: Any) -> set[str]:
    ipv4 = {each["PrivateIpAddress"] for each in eni.get("PrivateIpAddresses", [])}
    return ipv4 | {str(ip_address(each["Ipv6Address"])) for each in eni.get("Ipv6Addresses", [])}
