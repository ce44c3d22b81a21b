"""Which virtual machine this is, and which of its interfaces in Compute Engine matches an interface here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from google.auth.exceptions import TransportError
from google.cloud.compute_v1 import Instance, NetworkInterface

from providers.base import ProviderError, Vip
from providers.cloud.calls import Calls
from providers.cloud.deadline import Deadline
from providers.cloud.mechanism import Mechanism
from providers.cloud.metadata_service import MetadataError
from providers.cloud.mover import Mover
from providers.gcp.client import ComputeOptions
from providers.gcp.compute import Compute, InstanceName, translate
from providers.gcp.metadata import WrongAnswer

_THREADS = 8
_INTERFACES = Path("/sys/class/net")


class Identity:
    """This node's identity, which the metadata server is asked for once, before it is needed."""

    def __init__(self, options: ComputeOptions, compute: Compute, interface: str | None = None) -> None:
        """`interface` is where the VIPs are bound here; None when they are not bound, or only to loopback."""
        self._options = options
        self._compute = compute
        self._interface = interface
        self._name: InstanceName | None = None
        self._address: str | None = None  # of the interface, as Compute Engine gave it

    async def name(self, until: Deadline) -> InstanceName:
        """Return this instance's name. Raises ProviderError when neither configuration nor metadata server gives it."""
        if self._name is None:
            self._name = await self._compute.calls.run("find out which instance this is", self._ask_name, until=until)
        return self._name

    async def nic(self, instance: Instance, until: Deadline) -> NetworkInterface:
        """Return our interface of our instance. Raises ProviderError when the instance does not have it."""
        wanted = self._options.nic
        if wanted is None and self._interface is not None and self._address is None:
            self._address = await self._compute.calls.run(
                "find out which network interface this is", self._ask_address, until=until
            )
        for nic in instance.network_interfaces:
            if nic.name == wanted or (wanted is None and self._address in {None, nic.network_i_p}):
                return nic
        raise ProviderError(f"{instance.name} has no network interface {wanted or self._address}: set `nic`")

    def _ask_name(self) -> InstanceName:
        options, metadata = self._options, self._options.metadata()
        with _asked_again():
            return InstanceName(
                options.project or metadata.text("project/project-id"),
                options.zone or metadata.text("instance/zone").rpartition("/")[2],
                options.instance or metadata.text("instance/name"),
            )

    def _ask_address(self) -> str:
        mac = (_INTERFACES / str(self._interface) / "address").read_text().strip().lower()
        with _asked_again():
            interfaces = self._options.metadata().json("instance/network-interfaces/")
        for each in interfaces:
            if str(each.get("mac", "")).lower() == mac:
                return str(each["ip"])
        raise ProviderError(f"no network interface of this instance has {self._interface}'s MAC {mac}: set `nic`")


class ComputeMechanism(Mechanism):
    """The base class of Compute Engine's mechanisms."""

    @classmethod
    def make_calls(cls, options: Any, group: str, vips: tuple[Vip, ...], clock: Callable[[], float]) -> Calls:
        """Make the group's calls, with as many threads as `threads` returns."""
        return Calls(f"gcp-{group}", clock=clock, translate=translate, threads=cls.threads(options, vips))

    @classmethod
    def threads(cls, options: Any, vips: tuple[Vip, ...]) -> int:  # noqa: ARG003  (a mechanism may count them)
        """Return the highest number of calls at a time."""
        return _THREADS

    @classmethod
    def make_mover(
        cls, options: Any, *, group: str, vips: tuple[Vip, ...], calls: Calls, interfaces: frozenset[str]
    ) -> Mover:
        """Make the group's mover, without a call. Raises ProviderError."""
        kind: Any = cls
        made: Mover = kind(options, group=group, vips=vips, calls=calls, interface=pick_interface(interfaces))
        return made


def pick_interface(interfaces: Iterable[str]) -> str | None:
    """Return the interface whose MAC address Compute Engine knows, or None for loopback."""
    return next((each for each in sorted(interfaces) if each != "lo"), None)


@contextmanager
def _asked_again() -> Iterator[None]:
    """Translate a missing answer of the metadata server into an error that `Calls` retries."""
    try:
        yield
    except WrongAnswer:
        raise
    except MetadataError as error:
        raise TransportError(str(error)) from error
