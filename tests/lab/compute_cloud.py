"""A project of Google Cloud: machines, subnets, routes, addresses, and what may be done to them."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from typing import Any

PROJECT = "shop-1"
NUMBER = 481516
_URL = "https://www.googleapis.com/compute/v1/"


class Refused(Exception):  # noqa: N818  (an answer)
    """Compute refuses at once, or when the operation lands: `reason` is its own word for why."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


@dataclass
class Nic:
    """A network interface. `aliases` and `access` are as the API has them."""

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
    """A subnetwork, in one region of one network. `secondary`: ranges by name."""

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
    """A route, which nobody can change: only make and delete."""

    name: str
    network: str
    dest: str
    priority: int
    machine: str = ""  # path of an instance
    description: str = ""
    gateway: str = ""


@dataclass
class Cloud:
    """What there is in the project. Everything that changes it may raise Refused, and then has changed nothing."""

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
        """The machines that have an address of this range, as their own or as an alias."""
        wanted = ip_network(cidr)
        return [
            machine
            for machine in self.machines
            if any(ip_network(taken).overlaps(wanted) for nic in machine.nics for taken in _taken(nic))
        ]

    def leads_to(self, destination: str, network: str = "vpc") -> list[str]:
        """The machines that the network sends packets for an address to: routes of the best priority, then aliases."""
        wanted = ip_address(destination)
        fitting = [r for r in self.routes.values() if r.network == network and wanted in ip_network(r.dest)]
        if fitting:
            longest = max(ip_network(r.dest).prefixlen for r in fitting)
            fitting = [r for r in fitting if ip_network(r.dest).prefixlen == longest]
            best = min(r.priority for r in fitting)
            return [r.machine.rpartition("/")[2] for r in fitting if r.priority == best]
        return [machine.name for machine in self.holders(f"{destination}/{wanted.max_prefixlen}")]

    def with_external(self, address: str) -> list[tuple[Machine, Nic]]:
        """The interfaces that an external address is on."""
        return [
            (machine, nic)
            for machine in self.machines
            for nic in machine.nics
            if any(each.get("natIP") == address for each in nic.access)
        ]

    # --- as the API shows it ---

    def shown_machine(self, machine: Machine) -> dict[str, Any]:
        return {
            "kind": "compute#instance",
            "id": _number(machine.path),
            "name": machine.name,
            "zone": f"{_URL}projects/{PROJECT}/zones/{machine.zone}",
            "status": "RUNNING" if machine.running else "TERMINATED",
            "canIpForward": machine.can_ip_forward,
            "tags": {"items": list(machine.tags), "fingerprint": _fingerprint(machine.tags)},
            "networkInterfaces": [self.shown_nic(nic) for nic in machine.nics],
            "serviceAccounts": [{"email": machine.service_account, "scopes": []}],
            "selfLink": _URL + machine.path,
        }

    def shown_nic(self, nic: Nic) -> dict[str, Any]:
        subnet = self.subnet(nic.subnet)
        shown: dict[str, Any] = {
            "kind": "compute#networkInterface",
            "name": nic.name,
            "network": f"{_URL}projects/{PROJECT}/global/networks/{subnet.network}",
            "subnetwork": _URL + subnet.path,
            "networkIP": nic.ip,
            "stackType": "IPV4_ONLY",
            "fingerprint": _fingerprint([nic.aliases, nic.access, nic.ip]),
        }
        if nic.aliases:  # empty lists are never shown
            shown["aliasIpRanges"] = [dict(each) for each in nic.aliases]
        if nic.access:
            shown["accessConfigs"] = [dict(each) for each in nic.access]
        return shown

    def shown_subnet(self, subnet: Subnet) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "kind": "compute#subnetwork",
            "id": _number(subnet.path),
            "name": subnet.name,
            "network": f"{_URL}projects/{PROJECT}/global/networks/{subnet.network}",
            "region": f"{_URL}projects/{PROJECT}/regions/{subnet.region}",
            "ipCidrRange": subnet.cidr,
            "selfLink": _URL + subnet.path,
        }
        if subnet.secondary:
            shown["secondaryIpRanges"] = [
                {"rangeName": name, "ipCidrRange": cidr} for name, cidr in subnet.secondary.items()
            ]
        return shown

    def shown_route(self, route: Route) -> dict[str, Any]:
        path = f"projects/{PROJECT}/global/routes/{route.name}"
        shown: dict[str, Any] = {
            "kind": "compute#route",
            "id": _number(path),
            "name": route.name,
            "description": route.description,
            "network": f"{_URL}projects/{PROJECT}/global/networks/{route.network}",
            "destRange": route.dest,
            "priority": route.priority,
            "selfLink": _URL + path,
            "routeType": "STATIC",
        }
        if route.gateway:
            shown["nextHopGateway"] = f"{_URL}projects/{PROJECT}/global/gateways/{route.gateway}"
        else:
            shown["nextHopInstance"] = _URL + route.machine
        return shown

    def shown_address(self, address: Address) -> dict[str, Any]:
        path = f"projects/{PROJECT}/regions/{address.region}/addresses/{address.name}"
        users = [_URL + machine.path for machine, _ in self.with_external(address.address)]
        shown: dict[str, Any] = {
            "kind": "compute#address",
            "id": _number(path),
            "name": address.name,
            "address": address.address,
            "addressType": "EXTERNAL",
            "networkTier": address.tier,
            "region": f"{_URL}projects/{PROJECT}/regions/{address.region}",
            "status": "IN_USE" if users else "RESERVED",
            "selfLink": _URL + path,
        }
        if users:
            shown["users"] = users
        return shown

    # --- checks of what is asked, made before an operation begins ---

    def check_nic(self, nic: Nic, body: dict[str, Any]) -> None:
        given = body.get("fingerprint")
        if not given:
            raise Refused(400, "required", "Required field 'resource.fingerprint' not specified")
        if given != self.shown_nic(nic)["fingerprint"]:
            raise Refused(412, "conditionNotMet", "Supplied fingerprint does not match current metadata fingerprint.")
        if more := set(body) - {"fingerprint", "aliasIpRanges"}:
            raise Refused(400, "invalid", f"Only alias IP ranges can be changed here, not {sorted(more)}")
        subnet = self.subnet(nic.subnet)
        for each in body.get("aliasIpRanges", ()):
            _check_alias(subnet, each)

    def check_route(self, body: dict[str, Any]) -> Route:
        for name in ("name", "network", "destRange"):
            if not body.get(name):
                raise Refused(400, "required", f"Required field 'resource.{name}' not specified")
        if body["name"] in self.routes:
            path = f"projects/{PROJECT}/global/routes/{body['name']}"
            raise Refused(409, "alreadyExists", f"The resource '{path}' already exists")
        network, dest = body["network"].rpartition("/")[2], _network(body["destRange"], "destRange")
        if network not in {each.network for each in self.subnets}:
            raise Refused(404, "notFound", f"The resource '{body['network']}' was not found")
        if any(dest.subnet_of(inside) for inside in self._ranges(network) if inside.version == dest.version):
            raise Refused(400, "invalid", f"{dest}: the destination range hides the address space of the network")
        hops = [name for name in body if name.startswith("nextHop")]
        if hops != ["nextHopInstance"]:
            raise Refused(400, "invalid", f"exactly one next hop is needed, and here an instance: {hops}")
        priority = body.get("priority", 1000)
        if priority > 65535:
            raise Refused(400, "invalid", f"Invalid value for field 'resource.priority': '{priority}'.")
        machine = self._next_hop(body["nextHopInstance"], network)
        return Route(body["name"], network, str(dest), priority, machine.path, body.get("description", ""))

    def check_access(self, nic: Nic, body: dict[str, Any]) -> None:
        if nic.access:
            raise Refused(400, "invalid", "At most one access config currently supported.")
        wanted = body.get("natIP")
        if wanted is None:
            return
        reserved = {each.address: each.tier for each in self.addresses}
        if reserved.get(wanted) != body.get("networkTier", "PREMIUM"):
            raise Refused(400, "invalid", f"Invalid value for field 'resource.natIP': '{wanted}', or its tier.")
        if self.with_external(wanted):
            raise Refused(400, "externalIpAlreadyInUse", f"External IP address: {wanted} is already in-use.")

    def has_access(self, nic: Nic, name: str) -> None:
        if name not in {each["name"] for each in nic.access}:
            raise Refused(400, "invalid", f"Invalid value for field 'accessConfig': '{name}'. It is not specified.")

    def _next_hop(self, url: str, network: str) -> Machine:
        parts = url.split("/")
        machine = self.machine(parts[-3], parts[-1])
        if not url.endswith(machine.path) or network not in {self.subnet(nic.subnet).network for nic in machine.nics}:
            raise Refused(400, "invalid", f"Invalid value for field 'resource.nextHopInstance': '{url}'.")
        return machine

    def _ranges(self, network: str) -> Iterable[Any]:
        for subnet in self.subnets:
            if subnet.network == network:
                yield ip_network(subnet.cidr)
                yield from map(ip_network, subnet.secondary.values())

    # --- what operations do when they land ---

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
        self.check_access(nic, body)
        nic.access = [{"kind": "compute#accessConfig", "networkTier": "PREMIUM", "name": "External NAT", **body}]

    def delete_access(self, nic: Nic, name: str) -> None:
        nic.access = [each for each in nic.access if each["name"] != name]


def _taken(nic: Nic) -> Iterable[str]:
    yield nic.ip
    yield from (each["ipCidrRange"] for each in nic.aliases)


def _check_alias(subnet: Subnet, given: dict[str, str]) -> None:
    wanted, name = _network(given.get("ipCidrRange", ""), "aliasIpRanges"), given.get("subnetworkRangeName")
    if name is not None and name not in subnet.secondary:
        raise Refused(400, "invalid", f"{subnet.name} has no secondary range {name!r}")
    within = ip_network(subnet.secondary[name] if name else subnet.cidr)
    if wanted.version != within.version or not wanted.subnet_of(within):
        raise Refused(400, "invalid", f"Requested alias range {wanted} is not within {within}")


def _network(value: str, field_name: str) -> Any:
    try:
        return ip_network(value)
    except ValueError as error:
        raise Refused(400, "invalid", f"Invalid value for field 'resource.{field_name}': '{value}'.") from error


def _cidr(value: str) -> str:
    return value if "/" in value else f"{value}/32"


def _fingerprint(content: Any) -> str:
    return b64encode(hashlib.sha256(json.dumps(content).encode()).digest()[:8]).decode()


def _number(path: str) -> str:
    return str(int.from_bytes(hashlib.sha256(path.encode()).digest()[:7]))
