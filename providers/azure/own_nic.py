"""This machine's network interface in Azure, and the other interfaces that can have its VIPs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field

from providers.azure.client import ArmOptions, translate
from providers.azure.identity import Interface
from providers.azure.network import AzureNetwork, Named
from providers.azure.nic import Json, same
from providers.baremetal.provider import InterfaceName
from providers.base import ProviderError, Vip
from providers.cloud.calls import CallRefused, Calls, together
from providers.cloud.deadline import Deadline
from providers.cloud.mechanism import Mechanism
from providers.cloud.mover import Mover, MovingOptions

NICS: Final = "networkInterfaces"
LEAST_THREADS: Final = 8
_GONE: Final = 404


class NicOptions(ArmOptions, MovingOptions):
    """The keys of plugins that use this machine's network interface in Azure."""

    move_seconds: float = Field(
        default=120.0,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="Longest time for a move to become visible, in seconds. Then another node takes its turn. Azure "
        "needs some seconds for each write, and sometimes a minute.",
    )
    interface: InterfaceName | None = Field(
        default=None, description="This host's interface that the VIPs are on. Default: as for `type: baremetal`."
    )
    nic: str | None = Field(
        default=None,
        min_length=1,
        description="This machine's network interface in Azure, by name or id. Default: the one with the MAC address "
        "of `interface`.",
    )
    health_port: int = Field(
        default=9010,
        ge=1,
        le=65535,
        description="Port that a load balancer probes. `anyvip doctor` checks that the security groups allow it.",
    )


class OwnNic:
    """Finds this machine's network interface once and remembers it. `link` is this host's interface, if known."""

    def __init__(self, options: NicOptions, network: AzureNetwork, link: str | None, vips: tuple[Vip, ...]) -> None:
        """Prepare without any request. The subnet of `vips` identifies the NIC if neither its name nor `link` does."""
        self._options = options
        self._network = network
        self._link = link
        self._vips = vips
        self._named: Named | None = None

    @property
    def health_port(self) -> int:
        """The port that a load balancer probes."""
        return self._options.health_port

    async def interface(self, until: Deadline) -> Interface:
        """Return the NIC as the metadata service describes it. Raises ProviderError."""
        return (await self._network.machine(until)).interface(self._link, self._vips)

    async def named(self, until: Deadline, among: Iterable[Json] | None = None) -> Named:
        """Return the NIC's name in Azure. `among` are NICs that the caller has already read.

        Raises ProviderError when it is none of them.
        """
        if self._named is None:
            self._named = await self._find(until, among)
        return self._named

    async def read(self, until: Deadline) -> Json:
        """Read the NIC. Raises ProviderError."""
        return await self._network.nic(await self.named(until), until)

    async def _find(self, until: Deadline, among: Iterable[Json] | None) -> Named:
        machine = await self._network.machine(until)
        if self._options.nic is not None:
            return Named.of(self._options.nic, NICS, machine)
        mac = (await self.interface(until)).mac
        group = machine.resource_group
        nics = await self._network.nics(machine.subscription, group, until) if among is None else among
        for nic in nics:
            if (nic["properties"].get("macAddress") or "").replace("-", "").upper() == mac:
                return Named.of(nic["id"], NICS, machine)
        raise ProviderError(
            f"no network interface in the resource group {group} has the MAC {mac}: set `nic` to this machine's"
        )


class Candidates:
    """The NICs that can have the VIPs: those that are named, or all in this machine's resource group."""

    def __init__(self, names: tuple[str, ...] | None, network: AzureNetwork, own: OwnNic) -> None:
        """Prepare without any request. `names` are names or ids; None means all NICs of the resource group."""
        self._names = names
        self._network = network
        self._own = own

    async def read(self, until: Deadline) -> tuple[Json, list[Json]]:
        """Read this machine's NIC and the others. Raises ProviderError."""
        machine = await self._network.machine(until)
        if self._names is None:
            nics = await self._network.nics(machine.subscription, machine.resource_group, until)
        else:
            named = [Named.of(name, NICS, machine) for name in self._names]
            found = await together(self._read(each, until) for each in named)
            nics = [nic for nic in found if nic is not None]
        own = await self._own.named(until, nics if self._names is None else None)
        ours = [nic for nic in nics if same(nic["id"], own.id)]
        others = [nic for nic in nics if not same(nic["id"], own.id)]
        return (ours[0] if ours else await self._own.read(until)), others

    async def _read(self, which: Named, until: Deadline) -> Json | None:
        """Read a NIC. Returns None if it is gone, so that a deleted machine does not prevent a move."""
        try:
            return await self._network.nic(which, until)
        except CallRefused as refused:
            if getattr(refused.error, "status_code", None) == _GONE:
                return None
            raise


@dataclass(frozen=True, slots=True)
class MoverParts:
    """What a mover works with: its group, the calls, the network, and this machine's NIC."""

    group: str
    vips: tuple[Vip, ...]
    calls: Calls
    network: AzureNetwork
    own: OwnNic

    @classmethod
    def of(
        cls, options: NicOptions, *, group: str, vips: tuple[Vip, ...], calls: Calls, link: str | None
    ) -> MoverParts:
        """Assemble these parts for one group. `link` is this host's interface."""
        network = AzureNetwork(options, calls)
        return cls(group, vips, calls, network, OwnNic(options, network, link, vips))


class AzureMechanism(Mechanism):
    """Opens the movers of Azure."""

    @classmethod
    def make_calls(cls, options: Any, group: str, vips: tuple[Vip, ...], clock: Callable[[], float]) -> Calls:
        """Return the threads that the group's calls run in. `threads` says how many."""
        return calls(group, clock, cls.threads(options, vips))

    @classmethod
    def threads(cls, options: Any, vips: tuple[Vip, ...]) -> int:  # noqa: ARG003  (a mechanism may count them)
        """Return how many calls can run at the same time."""
        return LEAST_THREADS

    @classmethod
    def make_mover(
        cls, options: Any, *, group: str, vips: tuple[Vip, ...], calls: Calls, interfaces: frozenset[str]
    ) -> Mover:
        """Return a mover, without any request yet. Its link is where the guest has the VIPs, but never loopback."""
        bound = next((each for each in sorted(interfaces) if each != "lo"), None)
        link = bound if cls.in_guest else options.interface
        kind: Any = cls
        made: Mover = kind(options, MoverParts.of(options, group=group, vips=vips, calls=calls, link=link))
        return made


def calls(group: str, clock: Callable[[], float], threads: int = LEAST_THREADS) -> Calls:
    """Return the threads that a group's calls to Azure run in."""
    return Calls(f"azure-{group}", clock=clock, translate=translate, threads=threads)
