"""A static external address, moved from the network interface of one virtual machine to another's (docs/gcp.md)."""

from __future__ import annotations

import asyncio
import logging
from ipaddress import IPv4Address
from typing import Final

from google.cloud import compute_v1
from google.cloud.compute_v1 import AccessConfig, Address, NetworkInterface, Operation
from pydantic import Field

from providers.base import Finding, Level, Place, Placement, ProviderError, Topic, Vip
from providers.cloud.calls import CallRefused, Calls, together
from providers.cloud.deadline import Deadline
from providers.cloud.mover import MovingOptions
from providers.gcp import preflight
from providers.gcp.client import ComputeOptions
from providers.gcp.compute import Change, Compute, InstanceName, OperationFailed, Removals, Terms, status
from providers.gcp.identity import ComputeMechanism, Identity

_log = logging.getLogger(__name__)

_ATTEMPTS: Final = 3  # to take an address that another instance has taken meanwhile
_PAUSE_SECONDS: Final = 0.3
_TAKEN: Final = 400
_GONE: Final = 404

# terraform/gcp/policies/static_ip.json
PERMISSIONS: Final = (
    "compute.addresses.list",
    "compute.addresses.use",
    "compute.instances.addAccessConfig",
    "compute.instances.deleteAccessConfig",
    "compute.instances.get",
    "compute.subnetworks.useExternalIp",
    "compute.zoneOperations.get",
)

Holder = tuple[InstanceName, NetworkInterface, AccessConfig]


class StaticIpOptions(ComputeOptions, MovingOptions):
    """The configuration keys of `type: gcp.static_ip`."""

    address: IPv4Address | None = Field(
        default=None,
        strict=False,
        description="The reserved external address, of this region. Default: the group's VIP; the group must then have "
        "only one.",
    )

    @property
    def moves(self) -> frozenset[str]:
        """Return the external address, if it is none of the group's VIPs."""
        return frozenset() if self.address is None else frozenset({str(self.address)})


class StaticIp(ComputeMechanism):
    """Moves an external address between network interfaces (`providers.cloud.mover.Mover`).

    An address must be free before it can be taken: one operation deletes the access config that has it, and a second
    adds an access config here.
    """

    Options = StaticIpOptions
    in_guest = False  # the guest has private addresses only

    def __init__(
        self, options: StaticIpOptions, *, group: str, vips: tuple[Vip, ...], calls: Calls, interface: str | None
    ) -> None:
        """`interface` is None, because nothing is bound in the guest."""
        if options.address is None and (len(vips) != 1 or vips[0].version != 4):
            raise ProviderError(f"group {group}: gcp.static_ip moves one IPv4 address: set it as `address`")
        self._address = str(options.address or vips[0].ip)
        self._compute = Compute(options, calls)
        self._identity = Identity(options, self._compute, interface)
        self._leaving = Removals(self._compute)

    def close(self) -> None:
        """Close all connections."""
        self._compute.close()

    async def warm(self, until: Deadline) -> None:
        """Look up this instance's name, and open the connections that a move needs in addition to those of `look`."""
        await self._resource(await self._identity.name(until), until)

    async def move(self, until: Deadline) -> None:
        """Take the address from its holders, and add it here. Raises ProviderError."""
        us = await self._identity.name(until)
        await self._leaving.over(until)
        for attempt in range(_ATTEMPTS):
            own, resource = await asyncio.gather(self._own(us, until), self._resource(us, until))
            if self._has(own) is not None:
                return
            self._free(us, own)
            holders = await self._holders(us, resource, until)
            await together(self._take(*holder, until) for holder in holders)
            try:
                await self._compute.change(
                    f"give {self._address} to {us} {own.name}", us.zone, self._add(us, own, resource), until
                )
            except (OperationFailed, CallRefused) as error:
                forbidden = isinstance(error, CallRefused) and status(error) != _TAKEN
                if forbidden or attempt + 1 == _ATTEMPTS:
                    raise
                _log.info("%s; searching again for its holder", error)
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return

    async def leave(self, until: Deadline) -> None:
        """Begin to take the address from this virtual machine, if it is still here. The release does not wait."""
        us = await self._identity.name(until)
        await self._leaving.over(until)
        own = await self._own(us, until)
        access = self._has(own)
        if access is not None:
            what = f"take {self._address} from {us}"
            await self._leaving.begin(what, us.zone, self._delete(us, own, access), until)

    async def look(self, until: Deadline) -> Placement:
        """Read our interface, and the address only if the interface lacks it."""
        us = await self._identity.name(until)
        if self._has(await self._own(us, until)) is not None:
            return Placement(Place.HERE)
        resource = await self._resource(us, until)
        users = [str(InstanceName.parse(user, us)) for user in resource.users if "/instances/" in user]
        if resource.users:
            return Placement(Place.ELSEWHERE, ", ".join(users or resource.users))
        return Placement(Place.NOWHERE, f"{self._address} is not in use")

    async def preflight(self) -> list[Finding]:
        """Return what would keep the address from being moved here."""
        until = self._compute.calls.within(preflight.SECONDS)
        try:
            us = await self._identity.name(until)
            own = await self._own(us, until)
        except ProviderError as error:
            return preflight.report_identity_failure(error)
        looks = {
            Topic("gcp.permission", "permissions"): preflight.permissions(
                self._compute, [us], "static_ip", PERMISSIONS, until
            ),
            Topic("gcp.static_address", "address"): self._check_reserved(us, until),
        }
        identity = Finding(Level.OK, "gcp.identity", "identity", f"{us} {own.name}")
        return [identity, self._room(us, own), *await preflight.run_checks(looks)]

    def _room(self, us: InstanceName, own: NetworkInterface) -> Finding:
        try:
            if self._has(own) is None:
                self._free(us, own)
        except ProviderError as error:
            return Finding(
                Level.ERROR, "gcp.access_config", "interface", str(error), "remove that access config, or set `nic`"
            )
        text = f"{own.name} has no other external address: the API is reached by Private Google Access or Cloud NAT"
        return Finding(Level.OK, "gcp.access_config", "interface", text)

    async def _check_reserved(self, us: InstanceName, until: Deadline) -> list[Finding]:
        found = await self._find(us, until)
        if not found:
            remedy = "reserve it there, or correct `address`"
            return [
                Finding(
                    Level.ERROR,
                    "gcp.static_address",
                    "address",
                    f"{self._address} is not reserved in {_region(us)}",
                    remedy,
                )
            ]
        foreign = [user for user in found[0].users if "/instances/" not in user]
        if foreign:
            text = f"{self._address} is used by {foreign[0]}, which is not an instance"
            return [
                Finding(
                    Level.ERROR,
                    "gcp.static_address",
                    "address",
                    text,
                    "free it there: anyvip takes it only from instances",
                )
            ]
        return [Finding(Level.OK, "gcp.static_address", "address", f"{self._address} is reserved as {found[0].name}")]

    async def _own(self, us: InstanceName, until: Deadline) -> NetworkInterface:
        return await self._identity.nic(await self._compute.instance(us, until), until)

    def _has(self, nic: NetworkInterface) -> AccessConfig | None:
        return next((each for each in nic.access_configs if each.nat_i_p == self._address), None)

    def _free(self, us: InstanceName, own: NetworkInterface) -> None:
        if own.access_configs:
            other = own.access_configs[0].nat_i_p or "an ephemeral one"
            raise ProviderError(
                f"{us} {own.name} already has an external address ({other}), and an interface can have only one: "
                "remove it there, or give the VIP an interface of its own (`nic`)"
            )

    async def _resource(self, us: InstanceName, until: Deadline) -> Address:
        """Return the reserved address, which names its users. Raises ProviderError when it is not reserved."""
        found = await self._find(us, until)
        if not found:
            raise ProviderError(f"{self._address} is not reserved in {us.project}, {_region(us)}: reserve it there")
        return found[0]

    async def _find(self, us: InstanceName, until: Deadline) -> list[Address]:
        request = compute_v1.ListAddressesRequest(
            project=us.project, region=_region(us), filter=f'address = "{self._address}"'
        )
        return await self._compute.ask(
            f"look for {self._address}", lambda terms: list(self._compute.addresses.list(request, **terms)), until
        )

    async def _holders(self, us: InstanceName, resource: Address, until: Deadline) -> list[Holder]:
        """Return who has the address. Raises ProviderError when its user is not an instance."""
        foreign = [user for user in resource.users if "/instances/" not in user]
        if foreign:
            raise ProviderError(f"{self._address} is used by {foreign[0]}, which is not an instance: free it there")
        names = [InstanceName.parse(user, us) for user in resource.users]
        instances = await together(self._compute.instance(name, until) for name in names)
        pairs = [(name, nic) for name, each in zip(names, instances, strict=True) for nic in each.network_interfaces]
        return [(name, nic, access) for name, nic in pairs if (access := self._has(nic)) is not None]

    async def _take(self, name: InstanceName, nic: NetworkInterface, access: AccessConfig, until: Deadline) -> None:
        """Take the address from a holder that might have given it up meanwhile.

        Whether another instance has taken it since shows when we add it here.
        """
        try:
            await self._compute.change(
                f"take {self._address} from {name} {nic.name}", name.zone, self._delete(name, nic, access), until
            )
        except CallRefused as refused:
            if status(refused) not in {_TAKEN, _GONE}:
                raise
            _log.info("%s", refused)

    # --- changes ---

    def _delete(self, name: InstanceName, nic: NetworkInterface, access: AccessConfig) -> Change:
        """Delete an access config by name. Ours are named after the address, so a late call deletes no other one."""

        def begin(request_id: str, terms: Terms) -> Operation:
            asked = compute_v1.DeleteAccessConfigInstanceRequest(
                project=name.project,
                zone=name.zone,
                instance=name.name,
                network_interface=nic.name,
                access_config=access.name,
                request_id=request_id,
            )
            return self._compute.instances.delete_access_config_unary(asked, **terms)

        return begin

    def _add(self, us: InstanceName, nic: NetworkInterface, resource: Address) -> Change:
        access = AccessConfig(
            name=f"anyvip {self._address}",
            type_="ONE_TO_ONE_NAT",
            nat_i_p=self._address,
            network_tier=resource.network_tier or None,
        )

        def begin(request_id: str, terms: Terms) -> Operation:
            asked = compute_v1.AddAccessConfigInstanceRequest(
                project=us.project,
                zone=us.zone,
                instance=us.name,
                network_interface=nic.name,
                access_config_resource=access,
                request_id=request_id,
            )
            return self._compute.instances.add_access_config_unary(asked, **terms)

        return begin


def _region(us: InstanceName) -> str:
    return us.zone.rpartition("-")[0]
