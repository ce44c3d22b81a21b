"""A public IP address that moves from one machine's network interface to another's (docs/azure.md).

It belongs to exactly one IP configuration: one write takes it from where it is, and a second write adds it to this
machine's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from pydantic import Field

from providers.azure import permissions, preflight
from providers.azure.network import CHANGED_PAUSE_SECONDS, Changed, Named
from providers.azure.nic import SETTLED, UNDER_WAY, Json, configurations, primary, same, state, with_public_ip
from providers.azure.own_nic import NICS, AzureMechanism, MoverParts, NicOptions
from providers.base import Finding, Level, Place, Placement, ProviderError
from providers.cloud.calls import together
from providers.cloud.deadline import Deadline

_log = logging.getLogger(__name__)
PUBLIC_IPS: Final = "publicIPAddresses"


class PublicIpOptions(NicOptions):
    """The configuration keys of `type: azure.public_ip`."""

    public_ip: str = Field(min_length=1, description="The public IP address that moves, by name or id.")
    ip_configuration: str | None = Field(
        default=None,
        min_length=1,
        description="IP configuration of this machine's network interface that gets it, by name. Default: the primary.",
    )

    @property
    def moves(self) -> frozenset[str]:
        """Return the public IP address by its name, which also ends its id. Azure's names ignore case."""
        return frozenset({f"azure public IP {self.public_ip.rpartition('/')[2].lower()}"})


class PublicIp(AzureMechanism):
    """Moves one public IP address between network interfaces (`providers.cloud.mover.Mover`)."""

    Options = PublicIpOptions
    in_guest = False  # the guest sees its private address only

    def __init__(self, options: PublicIpOptions, here: MoverParts) -> None:
        """Prepare without any request."""
        self._options = options
        self._here = here
        self._network = here.network
        self._own = here.own

    def close(self) -> None:
        """Close all connections."""
        self._network.close()

    async def warm(self, until: Deadline) -> None:
        """Find this node's network interface. `look` then opens the connections and fetches the token."""
        await self._own.named(until)

    async def move(self, until: Deadline) -> None:
        """Take the address from where it is and add it to this machine's NIC. Raises ProviderError."""
        while True:
            try:
                return await self._move(until)
            except Changed as changed:
                _log.info("group %s: %s; reading it again", self._here.group, changed)
                await asyncio.sleep(CHANGED_PAUSE_SECONDS)

    async def leave(self, until: Deadline) -> None:
        """Do nothing: the next owner takes the address, and freeing it without a next owner helps no node."""

    async def look(self, until: Deadline) -> Placement:
        """Ask for the address and for this machine's NIC. While the NIC is being written, nothing is certain."""
        public, own = await together((self._read(until), self._own.read(until)))
        where = _holder(public)
        if where is None:
            return Placement(Place.NOWHERE, "it is not associated with anything")
        if not same(where, self._ours(own)["id"]):
            return Placement(Place.ELSEWHERE, "/".join(where.split("/")[-3::2]))
        return (
            Placement(Place.HERE)
            if state(own) == SETTLED
            else Placement(Place.NOWHERE, f"{own['name']} is {state(own)}")
        )

    async def preflight(self) -> list[Finding]:
        """Return what would prevent the address from moving here."""
        until = self._here.calls.within(preflight.LOOK_SECONDS)
        found, own = await preflight.machine_and_nic(self._network, self._own, until)
        if own is None:
            return found
        try:
            which, public = await self._which(until), await self._read(until)
            ours = self._ours(own)
        except ProviderError as error:
            remedy = "check `public_ip`, `ip_configuration` and the scope of the role"
            return [*found, Finding(Level.ERROR, "azure.public_ip", "public address", str(error), remedy)]
        found += _public(public, ours, which)
        needs = [(which.id, permissions.READ_PUBLIC_IP), (which.id, permissions.JOIN_PUBLIC_IP)]
        needs += [need for nic in (own, *await self._theirs(public, until)) for need in permissions.to_write(nic)]
        return found + await permissions.findings(self._network, needs, until)

    async def _theirs(self, public: Json, until: Deadline) -> list[Json]:
        """Return the NIC that has the address now, or nothing if it cannot be read."""
        nic = _nic_of(_holder(public) or "")
        if nic is None:
            return []
        with suppress(ProviderError):
            return [await self._network.nic(Named.of(nic, NICS, await self._network.machine(until)), until)]
        return []

    def _ours(self, nic: Json) -> Json:
        """Return the IP configuration of this machine's NIC that gets the address. Raises ProviderError."""
        name = self._options.ip_configuration
        named = (each for each in configurations(nic) if name is not None and same(each["name"], name))
        found = primary(nic) if name is None else next(named, None)
        if found is None:
            raise ProviderError(f"{nic['name']} has no IP configuration {name or 'that is primary'}")
        return found

    async def _which(self, until: Deadline) -> Named:
        return Named.of(self._options.public_ip, PUBLIC_IPS, await self._network.machine(until))

    async def _read(self, until: Deadline) -> Json:
        return await self._network.public_ip(await self._which(until), until)

    async def _move(self, until: Deadline) -> None:
        which = await self._which(until)
        public, own = await together((self._network.public_ip(which, until), self._own.read(until)))
        ours = self._free(own, which)
        where = _holder(public)
        if where is not None and same(where, ours["id"]) and state(own) == SETTLED:
            return
        if where is not None and not same(where, ours["id"]):
            await self._take(where, which, until)
        await self._give(own, which, until)

    def _free(self, nic: Json, which: Named) -> Json:
        """Return the IP configuration that gets the address. Raises ProviderError when it has another address."""
        ours = self._ours(nic)
        if not same(_public_of(ours, which.id), which.id):
            raise ProviderError(f"{nic['name']}/{ours['name']} has another public address: {_public_of(ours, '')}")
        return ours

    async def _take(self, where: str, which: Named, until: Deadline) -> None:
        """Take the address from an IP configuration of another NIC, and return when Azure has completed that."""
        nic, name = _nic_of(where), where.rpartition("/")[2]
        if nic is None:
            raise ProviderError(f"the public address belongs to {where}, which is not a network interface")
        theirs = Named.of(nic, NICS, await self._network.machine(until))
        current = await self._network.settled(lambda: self._network.nic(theirs, until))
        if any(same(_public_of(each, ""), which.id) for each in configurations(current)):
            await self._network.write_nic(theirs, with_public_ip(current, name, None), until)

    async def _give(self, own: Json, which: Named, until: Deadline) -> None:
        current = await self._at_rest(own, await self._own.named(until), until)
        ours = self._free(current, which)
        await self._network.write_nic(
            await self._own.named(until), with_public_ip(current, ours["name"], which.id), until
        )

    async def _at_rest(self, nic: Json, which: Named, until: Deadline) -> Json:
        if state(nic) not in UNDER_WAY:
            return nic
        return await self._network.settled(lambda: self._network.nic(which, until))


def _holder(public: Json) -> str | None:
    """Return the id of the IP configuration that has the address, or None."""
    configuration = public["properties"].get("ipConfiguration") or {}
    return configuration.get("id")


def _public_of(configuration: Json, default: str) -> str:
    """Return the id of the public address that this IP configuration has, or `default`."""
    return str((configuration["properties"].get("publicIPAddress") or {}).get("id", default))


def _nic_of(configuration: str) -> str | None:
    """Return the id of the NIC that this IP configuration belongs to, or None if it does not belong to a NIC."""
    parts = configuration.split("/")
    return "/".join(parts[:-2]) if len(parts) == 11 and same(parts[7], NICS) else None


def _public(public: Json, ours: Json, which: Named) -> Iterator[Finding]:
    subject = f"public address {public['name']}"
    properties = public["properties"]
    if properties.get("publicIPAllocationMethod") != "Static":
        remedy = f"az network public-ip update --ids {which.id} --allocation-method Static"
        yield Finding(
            Level.ERROR, "azure.public_ip_allocation", subject, "is dynamic: it would change when it moves", remedy
        )
    other = _public_of(ours, which.id)
    if not same(other, which.id):
        remedy = "set `ip_configuration` to one without a public address"
        yield Finding(
            Level.ERROR, "azure.ip_configuration", subject, f"cannot move to {ours['name']}, which has {other}", remedy
        )
    where = _holder(public)
    if where is not None and _nic_of(where) is None:
        remedy = "use an address for anyvip alone"
        yield Finding(
            Level.ERROR, "azure.public_ip", subject, f"belongs to {where}, which is not a network interface", remedy
        )
    else:
        yield Finding(Level.OK, "azure.public_ip", subject, f"is {properties.get('ipAddress', 'not allocated yet')}")
