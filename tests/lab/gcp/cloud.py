"""A project of Google Cloud: machines, subnets, routes, addresses, and where the network leads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from typing import Any

PROJECT = "shop-1"
NUMBER = 481516


class Refused(Exception):  # noqa: N818  (an answer)
    """Compute Engine refuses a call, immediately or when the operation lands. `reason` is its own code."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


@dataclass
class Nic:
    """A network interface. `aliases` and `access` are as in the API."""

    name: str
    subnet: str
    ip: str
    mac: str = ""
    aliases: list[dict[str, str]] = field(default_factory=list)
    access: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Machine:
    """A virtual machine."""

    name: str
    zone: str
    nics: list[Nic]
    can_ip_forward: bool = True
    running: bool = True
    tags: tuple[str, ...] = ()
    service_account: str = "anyvip@shop-1.iam.gserviceaccount.com"

    @property
    def path(self) -> str:
        return f"projects/{PROJECT}/zones/{self.zone}/instances/{self.name}"


@dataclass(frozen=True)
class Subnet:
    """A subnetwork in one region of one network. `secondary` has ranges by name."""

    name: str
    cidr: str
    network: str = "vpc"
    region: str = "europe-west1"
    secondary: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"projects/{PROJECT}/regions/{self.region}/subnetworks/{self.name}"


@dataclass(frozen=True)
class Address:
    """A reserved external address."""

    name: str
    address: str
    region: str = "europe-west1"
    tier: str = "PREMIUM"


@dataclass(frozen=True)
class Route:
    """A route, which can only be made and deleted, never changed."""

    name: str
    network: str
    dest: str
    priority: int
    machine: str = ""  # the path of an instance
    description: str = ""
    gateway: str = ""


@dataclass
class Cloud:
    """The resources of a project. A change that raises Refused has changed nothing."""

    machines: list[Machine]
    subnets: list[Subnet]
    routes: dict[str, Route] = field(default_factory=dict)
    addresses: list[Address] = field(default_factory=list)
    firewalls: list[dict[str, Any]] = field(default_factory=list)

    # --- finding ---

    def machine(self, zone: str, name: str) -> Machine:
        for machine in self.machines:
            if (machine.zone, machine.name) == (zone, name):
                return machine
        path = f"projects/{PROJECT}/zones/{zone}/instances/{name}"
        raise Refused(404, "notFound", f"The resource '{path}' was not found")

    def nic(self, machine: Machine, name: str) -> Nic:
        for nic in machine.nics:
            if nic.name == name:
                return nic
        raise Refused(400, "invalid", f"Invalid value for field 'networkInterface': '{name}'.")

    def subnet(self, name: str) -> Subnet:
        return next(each for each in self.subnets if each.name == name)

    def holders(self, cidr: str) -> list[Machine]:
        """Return the machines that have an address of this range, as their own or as an alias."""
        wanted = ip_network(cidr)
        return [
            machine
            for machine in self.machines
            if any(ip_network(taken).overlaps(wanted) for nic in machine.nics for taken in _taken(nic))
        ]

    def leads_to(self, destination: str, network: str = "vpc") -> list[str]:
        """Return the machines that packets for an address go to: by the best routes, else the address's holders."""
        wanted = ip_address(destination)
        fitting = [r for r in self.routes.values() if r.network == network and wanted in ip_network(r.dest)]
        if fitting:
            longest = max(ip_network(r.dest).prefixlen for r in fitting)
            fitting = [r for r in fitting if ip_network(r.dest).prefixlen == longest]
            best = min(r.priority for r in fitting)
            return [r.machine.rpartition("/")[2] for r in fitting if r.priority == best]
        inside = [machine.name for machine in self.holders(f"{destination}/{wanted.max_prefixlen}")]
        return inside or [machine.name for machine, _ in self.with_external(destination)]

    def with_external(self, address: str) -> list[tuple[Machine, Nic]]:
        """Return the interfaces that have an external address."""
        return [
            (machine, nic)
            for machine in self.machines
            for nic in machine.nics
            if any(each.get("natIP") == address for each in nic.access)
        ]

    # --- the effects of operations when they land ---

    def set_aliases(self, machine: Machine, nic: Nic, wanted: list[dict[str, str]]) -> None:
        for each in wanted:
            taken = [other for other in self.holders(each["ipCidrRange"]) if other is not machine]
            if taken or ip_network(nic.ip).overlaps(ip_network(each["ipCidrRange"])):
                cidr = each["ipCidrRange"]
                raise Refused(
                    400, "IP_IN_USE_BY_ANOTHER_RESOURCE", f"IP '{cidr}' is already being used by another resource."
                )
        nic.aliases = [{**each, "ipCidrRange": _cidr(each["ipCidrRange"])} for each in wanted]

    def add_route(self, route: Route) -> None:
        self.routes[route.name] = replace(route)

    def delete_route(self, name: str) -> None:
        self.routes.pop(name, None)

    def add_access(self, nic: Nic, body: dict[str, Any]) -> None:
        nic.access = [{"kind": "compute#accessConfig", "networkTier": "PREMIUM", "name": "External NAT", **body}]

    def delete_access(self, nic: Nic, name: str) -> None:
        nic.access = [each for each in nic.access if each["name"] != name]


def _taken(nic: Nic) -> Iterable[str]:
    yield nic.ip
    yield from (each["ipCidrRange"] for each in nic.aliases)


def _cidr(value: str) -> str:
    return value if "/" in value else f"{value}/32"
