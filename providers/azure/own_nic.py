"""Which of Azure's network interfaces is this machine's, and which others may have its VIPs."""

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
from providers.cloud.moving import Mover, MovingOptions

NICS: Final = "networkInterfaces"
LEAST_THREADS: Final = 8
_GONE: Final = 404


class NicOptions(ArmOptions, MovingOptions):
    """The keys of plugins that need to know this machine's network interface in Azure."""

    move_seconds: float = Field(
        default=120.0,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="Seconds that a move may take until it is seen, before another node is given a try. Azure takes "
        "some seconds for each write, and now and then a minute.",
    )
    interface: InterfaceName | None = Field(
        default=None, description="The guest's interface that belongs to it. Default: as for `type: baremetal`."
    )
    nic: str | None = Field(
        default=None,
        min_length=1,
        description="This machine's network interface in Azure, by name or id. Default: the one with the MAC address "
        "of the interface.",
    )
    health_port: int = Field(
        default=9010,
        ge=1,
        le=65535,
        description="The port that a load balancer probes, for `doctor` to look at security groups.",
    )


class OwnNic:
    """Finds it once. `link` is the guest's interface, where that is known."""

    def __init__(self, options: NicOptions, network: AzureNetwork, link: str | None, vips: tuple[Vip, ...]) -> None:
        """`vips`: their subnet tells which NIC it is, where neither name nor link does."""
        self._options = options
        self._network = network
        self._link = link
        self._vips = vips
        self._named: Named | None = None

    @property
    def health_port(self) -> int:
        """What a load balancer probes."""
        return self._options.health_port

    async def interface(self, until: Deadline) -> Interface:
        """What the metadata service says of it. Raises ProviderError."""
        return (await self._network.machine(until)).interface(self._link, self._vips)

    async def named(self, until: Deadline, among: Iterable[Json] | None = None) -> Named:
        """Its name in Azure. `among`: NICs that were read anyhow. Raises ProviderError when it is none of them."""
        if self._named is None:
            self._named = await self._found(until, among)
        return self._named

    async def read(self, until: Deadline) -> Json:
        """The NIC. Raises ProviderError."""
        return await self._network.nic(await self.named(until), until)

    async def _found(self, until: Deadline, among: Iterable[Json] | None) -> Named:
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
            f"no network interface with the MAC {mac} in the resource group {group}: set `nic` to this machine's"
        )


class Candidates:
    """The NICs that may have the VIPs: those that are named, or all of our resource group."""

    def __init__(self, names: tuple[str, ...] | None, network: AzureNetwork, own: OwnNic) -> None:
        """`names`: names or ids; None for all."""
        self._names = names
        self._network = network
        self._own = own

    async def read(self, until: Deadline) -> tuple[Json, list[Json]]:
        """Ours, and the others. Raises ProviderError."""
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
        """A NIC; None where it is gone, as a machine that was deleted: it does not keep the others from moving."""
        try:
            return await self._network.nic(which, until)
        except CallRefused as refused:
            if getattr(refused.error, "status_code", None) == _GONE:
                return None
            raise


@dataclass(frozen=True, slots=True)
class Here:
    """What a mover of one group has to do with."""

    group: str
    vips: tuple[Vip, ...]
    calls: Calls
    network: AzureNetwork
    own: OwnNic

    @classmethod
    def of(cls, options: NicOptions, *, group: str, vips: tuple[Vip, ...], calls: Calls, link: str | None) -> Here:
        """`link`: the guest's interface."""
        network = AzureNetwork(options, calls)
        return cls(group, vips, calls, network, OwnNic(options, network, link, vips))


class AzureMechanism(Mechanism):
    """How a mover of Azure is opened."""

    @classmethod
    def make_calls(cls, options: Any, group: str, vips: tuple[Vip, ...], clock: Callable[[], float]) -> Calls:
        """As many at once as `threads` says."""
        return calls(group, clock, cls.threads(options, vips))

    @classmethod
    def threads(cls, options: Any, vips: tuple[Vip, ...]) -> int:  # noqa: ARG003  (a mechanism may count them)
        """How many calls are made at once, at most."""
        return LEAST_THREADS

    @classmethod
    def make_mover(
        cls, options: Any, *, group: str, vips: tuple[Vip, ...], calls: Calls, interfaces: frozenset[str]
    ) -> Mover:
        """Asks nobody yet. The link is where the guest has the VIPs, unless that is loopback."""
        bound = next((each for each in sorted(interfaces) if each != "lo"), None)
        link = bound if cls.in_guest else options.interface
        kind: Any = cls
        made: Mover = kind(options, Here.of(options, group=group, vips=vips, calls=calls, link=link))
        return made


def calls(group: str, clock: Callable[[], float], threads: int = LEAST_THREADS) -> Calls:
    """The threads that a group's calls to Azure are made in."""
    return Calls(f"azure-{group}", clock=clock, translate=translate, threads=threads)
