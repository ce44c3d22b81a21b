"""VIPs that are Elastic IPs: public addresses that lead to a private address of this node (docs/aws.md)."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any, Final

from pydantic import Field

from providers.aws import preflight
from providers.aws.ec2 import Ec2, Ec2Mechanism, Ec2Options, code
from providers.aws.preflight import Looking, may
from providers.base import Finding, Level, Place, Placement, ProviderError, Topic, Vip
from providers.cloud.calls import CallRefused, together
from providers.cloud.deadline import Deadline

_POLICY: Final = "elastic_ip"
_NO_ASSOCIATION: Final = "eipassoc-00000000000000000"
_GONE: Final = "InvalidAssociationID.NotFound"


class ElasticIpOptions(Ec2Options):
    """The configuration keys of `type: aws.elastic_ip`. The group's VIPs are the Elastic IPs, as 198.51.100.7/32."""

    private_addresses: tuple[IPv4Address, ...] | None = Field(
        default=None,
        min_length=1,
        description="Private addresses of this node that the Elastic IPs lead to, one for each VIP, in the same order. "
        "Default, for one VIP: the primary address of the network interface.",
    )


class ElasticIp(Ec2Mechanism):
    """Associates one group's Elastic IPs with this node's network interface (`providers.cloud.mover.Mover`)."""

    Options = ElasticIpOptions
    in_guest = False  # the guest sees private addresses only

    def __init__(self, ec2: Ec2, vips: tuple[Vip, ...], options: ElasticIpOptions) -> None:
        """Prepare without any request. Raises ProviderError for VIPs that cannot be Elastic IPs."""
        if any(vip.version != 4 for vip in vips):
            raise ProviderError("Elastic IPs are IPv4 addresses: move IPv6 ones with aws.secondary_ip or aws.route")
        given = options.private_addresses
        if len(vips) != (1 if given is None else len(given)):
            raise ProviderError(f"private_addresses: list one address for each of the {len(vips)} VIPs")
        self._ec2 = ec2
        self._options = options
        self._public = [str(vip.ip) for vip in vips]
        self._allocations: Mapping[str, str] = {}  # by public address
        self._seen: dict[str, str] = {}  # this node's associations, by public address

    def close(self) -> None:
        """Close the connections."""
        self._ec2.close()

    async def warm(self, until: Deadline) -> None:
        """Ask for this node's network interface. `look` then finds the allocations and opens a connection."""
        await self._ec2.warm(until)

    async def move(self, until: Deadline) -> None:
        """Associate every Elastic IP with its private address here, all at the same time."""
        if not self._allocations:
            await self._describe(until)
        targets = await self._targets(until)
        await together(self._associate(public, until, target) for public, target in targets.items())

    async def leave(self, until: Deadline) -> None:
        """End this node's associations. One that another node has made since has another id, so it is safe."""
        seen, self._seen = self._seen, {}
        await together(self._disassociate(association, until) for association in seen.values())

    async def look(self, until: Deadline) -> Placement:
        """Ask for all Elastic IPs in one call."""
        targets = await self._targets(until)
        astray = []
        for address in await self._describe(until):
            at = {name: address.get(name) for name in ("NetworkInterfaceId", "PrivateIpAddress")}
            if at == targets[address["PublicIp"]]:
                self._seen[address["PublicIp"]] = address["AssociationId"]
            else:
                self._seen.pop(address["PublicIp"], None)
                astray.append((address["PublicIp"], " ".join(str(part) for part in at.values() if part)))
        if not astray:
            return Placement(Place.HERE)
        place = Place.ELSEWHERE if any(where for _, where in astray) else Place.NOWHERE
        return Placement(place, ", ".join(f"{public} on {where or 'nothing'}" for public, where in astray))

    async def preflight(self) -> list[Finding]:
        """Return what would prevent the Elastic IPs from moving here."""
        looks = {
            Topic("aws.elastic_ip", "Elastic IPs"): self._there,
            Topic("aws.private_address", "private addresses"): self._private,
            Topic("aws.permission", "permissions"): self._check_allowed,
        }
        return await preflight.run_checks(self._ec2, self._options, looks)

    # --- associations

    async def _targets(self, until: Deadline) -> dict[str, dict[str, str]]:
        """Return the interface and private address that each Elastic IP should lead to, as parameters of EC2."""
        nic = await self._ec2.nic(until)
        private = [str(each) for each in self._options.private_addresses or (nic.address,)]
        where = [{"NetworkInterfaceId": nic.id, "PrivateIpAddress": address} for address in private]
        return dict(zip(self._public, where, strict=True))

    async def _describe(self, until: Deadline) -> list[Any]:
        """Describe every Elastic IP of the group. Raises ProviderError that names those the account does not have."""
        if self._allocations:
            which: dict[str, Any] = {"AllocationIds": sorted(self._allocations.values())}
        else:
            which = {"Filters": [{"Name": "public-ip", "Values": self._public}]}
        found: list[Any] = list((await self._ec2.ask("describe_addresses", until, **which))["Addresses"])
        missing = set(self._public) - {address["PublicIp"] for address in found}
        if missing:
            raise ProviderError(f"the account has no Elastic IP {', '.join(sorted(missing))} in this region")
        self._allocations = {address["PublicIp"]: address["AllocationId"] for address in found}
        return found

    async def _associate(self, public: str, until: Deadline, target: Mapping[str, str]) -> None:
        given: dict[str, Any] = {"AllocationId": self._allocations[public], **target, "AllowReassociation": True}
        answer = await self._ec2.ask("associate_address", until, **given)
        self._seen[public] = answer["AssociationId"]

    async def _disassociate(self, association: str, until: Deadline) -> None:
        try:
            await self._ec2.ask("disassociate_address", until, AssociationId=association)
        except CallRefused as refused:
            if code(refused) != _GONE:
                raise

    # --- preflight

    async def _there(self, looking: Looking) -> list[Finding]:
        found = await self._describe(looking.until)
        return [
            Finding(Level.OK, "aws.elastic_ip", f"VIP {each['PublicIp']}", f"is {each['AllocationId']}")
            for each in found
        ]

    async def _private(self, looking: Looking) -> list[Finding]:
        has = {each["PrivateIpAddress"] for each in looking.eni["PrivateIpAddresses"]}
        findings = []
        for public, target in (await self._targets(looking.until)).items():
            address = target["PrivateIpAddress"]
            subject = f"private address {address}"
            if address in has:
                findings.append(
                    Finding(Level.OK, "aws.private_address", subject, f"is on {looking.nic.id}, for {public}")
                )
            else:
                message = f"is not on {looking.nic.id}, which has {', '.join(sorted(has))}"
                findings.append(
                    Finding(
                        Level.ERROR, "aws.private_address", subject, message, "assign it or correct `private_addresses`"
                    )
                )
        return findings

    async def _check_allowed(self, looking: Looking) -> list[Finding]:
        targets = await self._targets(looking.until)
        asked = []
        for address in await self._describe(looking.until):
            target = {"AllocationId": address["AllocationId"], **targets[address["PublicIp"]]}
            asked.append(may(looking, "AssociateAddress", _POLICY, **target, DryRun=True))
            association = address.get("AssociationId", _NO_ASSOCIATION)
            asked.append(may(looking, "DisassociateAddress", _POLICY, AssociationId=association, DryRun=True))
        return await together(asked)
