"""VIPs as alias IP ranges, moved from the network interface of one virtual machine to another's (docs/gcp.md)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from google.cloud.compute_v1 import AggregatedListInstancesRequest, AliasIpRange, Instance, NetworkInterface
from pydantic import Field

from providers.baremetal.provider import InterfaceName
from providers.base import Finding, Level, Place, Placement, ProviderError, Topic, Vip
from providers.cloud.calls import CallRefused, Calls, together
from providers.cloud.deadline import Deadline
from providers.cloud.mover import MovingOptions
from providers.gcp import preflight
from providers.gcp.client import ComputeOptions
from providers.gcp.compute import Compute, InstanceName, OperationFailed, Removals, Terms, status
from providers.gcp.identity import ComputeMechanism, Identity

_log = logging.getLogger(__name__)

_IN_USE: Final = "IP_IN_USE_BY_ANOTHER_RESOURCE"
_STALE: Final = 412
_GONE: Final = 404
_ATTEMPTS: Final = 3  # to take a range that another instance has taken meanwhile
_PAUSE_SECONDS: Final = 0.3
_PAGE: Final = 500  # the most instances that one answer lists

_LIST: Final = "compute.instances.list"  # only where `instances` does not name them

# terraform/gcp/policies/alias_ip.json
PERMISSIONS: Final = (
    "compute.instances.get",
    _LIST,
    "compute.instances.updateNetworkInterface",
    "compute.subnetworks.get",
    "compute.subnetworks.use",
    "compute.zoneOperations.get",
)

Edit = Callable[[list[AliasIpRange]], list[AliasIpRange]]


class AliasIpOptions(ComputeOptions, MovingOptions):
    """The configuration keys of `type: gcp.alias_ip`."""

    instances: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="The virtual machines that can have the VIPs: `name` in this zone, or `zone/name`. Default: all of "
        "the project are searched, which needs compute.instances.list and takes longer.",
    )
    range_name: str | None = Field(
        default=None,
        min_length=1,
        description="The subnet's secondary range that the VIPs are in. Default: its primary range.",
    )
    interface: InterfaceName | None = Field(
        default=None, description="Where the VIPs are bound in the guest. Default: as for `type: baremetal`."
    )


class AliasIp(ComputeMechanism):
    """Moves the VIPs of one group between network interfaces (`providers.cloud.mover.Mover`).

    A range must be free before it can be taken: one operation removes it where it is, a second one adds it here.
    """

    Options = AliasIpOptions

    def __init__(
        self, options: AliasIpOptions, *, group: str, vips: tuple[Vip, ...], calls: Calls, interface: str | None
    ) -> None:
        """`interface` is where the VIPs are bound here; it identifies the interface in Compute Engine."""
        if any(vip.version != 4 for vip in vips):
            raise ProviderError(f"group {group}: gcp.alias_ip moves only IPv4 addresses: move IPv6 ones with gcp.route")
        self._options = options
        self._wanted = {f"{vip.ip}/32" for vip in vips}
        self._compute = Compute(options, calls)
        self._identity = Identity(options, self._compute, interface)
        self._leaving = Removals(self._compute)

    def close(self) -> None:
        """Close all connections."""
        self._compute.close()

    async def warm(self, until: Deadline) -> None:
        """Look up this instance's name. The calls of `look` open the connections."""
        await self._identity.name(until)

    async def move(self, until: Deadline) -> None:
        """Remove the VIPs where they are, and add them here. Raises ProviderError that names who keeps one."""
        us = await self._identity.name(until)
        await self._leaving.over(until)
        for attempt in range(_ATTEMPTS):
            found = await self._machines(us, until)
            await together(self._edit(name, nic, self._without, until) for name, nic in self._holding(found, us))
            own = await self._identity.nic(found[us], until)
            try:
                await self._edit(us, own, self._with, until)
            except OperationFailed as error:
                if _IN_USE not in error.codes or attempt + 1 == _ATTEMPTS:
                    raise ProviderError(f"{error}{self._advice(error)}") from error
                _log.info("%s; searching again for its holder", error)
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return

    async def leave(self, until: Deadline) -> None:
        """Begin to remove the VIPs from this virtual machine, if they are still here.

        The release does not wait for the end: the next owner finds the operation under way, and continues from there.
        """
        us = await self._identity.name(until)
        own = await self._identity.nic(await self._compute.instance(us, until), until)
        await self._edit(us, own, self._without, until, waiting=False)

    async def look(self, until: Deadline) -> Placement:
        """Read our interface, and the other instances only if it lacks a VIP."""
        us = await self._identity.name(until)
        instance = await self._compute.instance(us, until)
        own = await self._identity.nic(instance, until)
        missing = self._wanted - {each.ip_cidr_range for each in own.alias_ip_ranges}
        if not missing:
            return Placement(Place.HERE)
        elsewhere = self._holding(await self._machines(us, until, instance), us)
        if elsewhere:
            return Placement(Place.ELSEWHERE, ", ".join(sorted({str(name) for name, _ in elsewhere})))
        return Placement(Place.NOWHERE, f"no instance has {', '.join(sorted(missing))}")

    async def preflight(self) -> list[Finding]:
        """Return what would keep the VIPs from being moved here."""
        until = self._compute.calls.within(preflight.SECONDS)
        try:
            us = await self._identity.name(until)
            found = await self._machines(us, until)
            own = await self._identity.nic(found[us], until)
        except ProviderError as error:
            return preflight.report_identity_failure(error)
        identity = Finding(Level.OK, "gcp.identity", "identity", f"{us} {own.name}, one of {len(found)} instances")
        machines = [us, *(name for name in found if name != us)]
        looks = {
            Topic("gcp.permission", "permissions"): preflight.permissions(
                self._compute, machines, "alias_ip", self._list_needed(), until
            ),
            Topic("gcp.vip_range", "subnet"): self._subnet(own, until),
        }
        return [identity, *self._apart(found, us, own), *await preflight.run_checks(looks)]

    def _list_needed(self) -> tuple[str, ...]:
        return tuple(each for each in PERMISSIONS if each != _LIST or self._options.instances is None)

    async def _subnet(self, own: NetworkInterface, until: Deadline) -> list[Finding]:
        subnet = await preflight.subnet_of(self._compute, own, until)
        return preflight.within_range(subnet, self._options.range_name, sorted(self._wanted))

    def _apart(
        self, found: Mapping[InstanceName, Instance], us: InstanceName, own: NetworkInterface
    ) -> Iterator[Finding]:
        """Yield a finding for each named instance that cannot have the VIPs, or does not exist."""
        subnet = own.subnetwork
        for text in self._options.instances or ():
            name = InstanceName.parse(text, us)
            if name not in found:
                yield Finding(
                    Level.WARNING, "gcp.instances", f"instance {name}", "does not exist", "correct `instances`"
                )
            elif all(nic.subnetwork != subnet for nic in found[name].network_interfaces):
                remedy = "give it an interface there: alias ranges belong to one subnet"
                yield Finding(
                    Level.ERROR, "gcp.instances", f"instance {name}", f"has no interface in {_last(subnet)}", remedy
                )

    # --- the machines ---

    async def _machines(
        self, us: InstanceName, until: Deadline, own: Instance | None = None
    ) -> Mapping[InstanceName, Instance]:
        """Return our instance and all that can have the VIPs, read at the same time."""
        if self._options.instances is None:
            listed = await self._compute.ask("list instances", lambda terms: self._list(us, terms), until)
            return listed if us in listed else {**listed, us: own or await self._compute.instance(us, until)}
        names = {us, *(InstanceName.parse(each, us) for each in self._options.instances)}
        asked = {name: self._find(name, until) for name in names if own is None or name != us}
        answers = dict(zip(asked, await together(asked.values()), strict=True))
        found = {name: instance for name, instance in answers.items() if instance is not None}
        if own is not None:
            found[us] = own
        if us not in found:
            raise ProviderError(f"there is no instance {us}")
        return found

    async def _find(self, name: InstanceName, until: Deadline) -> Instance | None:
        """Return the instance, or None when it does not exist."""
        try:
            return await self._compute.instance(name, until)
        except CallRefused as refused:
            if status(refused) == _GONE:
                return None
            raise

    def _list(self, us: InstanceName, terms: Terms) -> dict[InstanceName, Instance]:
        request = AggregatedListInstancesRequest(project=us.project, max_results=_PAGE)
        pages = self._compute.instances.aggregated_list(request, **terms)
        return {
            InstanceName.parse(instance.self_link, us): instance for _, scope in pages for instance in scope.instances
        }

    def _holding(
        self, found: Mapping[InstanceName, Instance], us: InstanceName
    ) -> list[tuple[InstanceName, NetworkInterface]]:
        """Return the interfaces of other machines that have a VIP."""
        return [
            (name, nic)
            for name, instance in found.items()
            if name != us
            for nic in instance.network_interfaces
            if any(each.ip_cidr_range in self._wanted for each in nic.alias_ip_ranges)
        ]

    # --- their interfaces ---

    async def _edit(
        self, name: InstanceName, nic: NetworkInterface, edit: Edit, until: Deadline, *, waiting: bool = True
    ) -> None:
        """Change an interface's ranges. Read it again and repeat while another caller changes it in between."""
        while True:
            before = list(nic.alias_ip_ranges)
            after = edit(before)
            if after == before:
                return
            what = f"alias ranges of {name} {nic.name}: {', '.join(each.ip_cidr_range for each in after) or 'none'}"
            change = self._compute.aliases(name, nic, after)
            try:
                if waiting:
                    await self._compute.change(what, name.zone, change, until)
                else:
                    await self._leaving.begin(what, name.zone, change, until)
            except CallRefused as refused:
                if status(refused) != _STALE:
                    raise
            else:
                return
            instance = await self._compute.instance(name, until)
            nic = next(each for each in instance.network_interfaces if each.name == nic.name)

    def _without(self, ranges: list[AliasIpRange]) -> list[AliasIpRange]:
        return [each for each in ranges if each.ip_cidr_range not in self._wanted]

    def _with(self, ranges: list[AliasIpRange]) -> list[AliasIpRange]:
        missing = self._wanted - {each.ip_cidr_range for each in ranges}
        name = self._options.range_name
        added = [AliasIpRange(ip_cidr_range=cidr, subnetwork_range_name=name) for cidr in sorted(missing)]
        return [*ranges, *added]

    def _advice(self, error: OperationFailed) -> str:
        if _IN_USE not in error.codes or self._options.instances is None:
            return ""
        return "; none of `instances` has it: name the one that does"


def _last(url: str) -> str:
    return url.rpartition("/")[2]
