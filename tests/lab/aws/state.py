"""A virtual network as EC2 keeps it, and the changes that EC2 refuses (EC2 API reference, by operation)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from itertools import count

from tests.lab.aws.query import Refused

RESERVED = 4  # first addresses of a subnet; the last one is reserved, too


@dataclass
class Subnet:
    id: str
    cidr: str
    ipv6_cidr: str | None = None
    vpc: str = "vpc-1"
    zone: str = "eu-central-1a"


@dataclass
class Interface:
    """A network interface. The first of `addresses` is the primary one."""

    id: str
    subnet: str
    addresses: list[str]
    ipv6: list[str] = field(default_factory=list)
    mac: str = "02:00:0a:4d:00:0b"
    source_dest_check: bool = True
    groups: list[str] = field(default_factory=lambda: ["sg-1"])
    instance: str | None = "i-1"


@dataclass
class Table:
    """A route table. `routes` maps each destination to a network interface."""

    id: str
    routes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    vpc: str = "vpc-1"
    limit: int = 50


@dataclass
class Association:
    id: str
    interface: str
    address: str


@dataclass
class Elastic:
    id: str
    public: str
    association: Association | None = None


@dataclass
class SecurityGroup:
    """A security group. `admits` has protocol, first and last port, and CIDR."""

    id: str
    admits: list[tuple[str, int, int, str]] = field(default_factory=list)


@dataclass
class Cloud:
    """One account's network. Each change is one method, which refuses what EC2 refuses."""

    vpcs: dict[str, list[str]] = field(default_factory=lambda: {"vpc-1": ["10.77.0.0/16", "fd77::/56"]})
    subnets: dict[str, Subnet] = field(default_factory=dict)
    interfaces: dict[str, Interface] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    elastics: dict[str, Elastic] = field(default_factory=dict)
    groups: dict[str, SecurityGroup] = field(default_factory=dict)
    prefix_lists: dict[str, list[str]] = field(default_factory=dict)
    addresses_per_interface: int = 10
    changed: Callable[[], None] = lambda: None
    numbers: count[int] = field(default_factory=lambda: count(1))

    # --- finding

    def interface(self, given: str) -> Interface:
        if given not in self.interfaces:
            raise Refused("InvalidNetworkInterfaceID.NotFound", f"The networkInterface ID '{given}' does not exist")
        return self.interfaces[given]

    def table(self, given: str) -> Table:
        if given not in self.tables:
            raise Refused("InvalidRouteTableID.NotFound", f"The routeTable ID '{given}' does not exist")
        return self.tables[given]

    def elastic(self, given: str) -> Elastic:
        if given not in self.elastics:
            raise Refused("InvalidAllocationID.NotFound", f"The allocation ID '{given}' does not exist")
        return self.elastics[given]

    def owner(self, address: str) -> str | None:
        """Return the network interface that has this address."""
        owners = [eni.id for eni in self.interfaces.values() if address in (*eni.addresses, *eni.ipv6)]
        assert len(owners) <= 1, f"{address} is on {owners}"
        return owners[0] if owners else None

    # --- addresses

    def assign(self, eni: Interface, addresses: list[str], *, reassign: bool) -> None:
        for address in addresses:
            self._check_assignable(eni, address, reassign=reassign)
        new = [address for address in addresses if address not in eni.addresses]
        if len(eni.addresses) + len(new) > self.addresses_per_interface:
            raise Refused(
                "PrivateIpAddressLimitExceeded", f"Number of private addresses will exceed limit on {eni.id}."
            )
        for address in new:
            for other in self.interfaces.values():
                if address in other.addresses:
                    other.addresses.remove(address)
            eni.addresses.append(address)
            for elastic in self.elastics.values():  # an Elastic IP follows its private address
                if elastic.association and elastic.association.address == address:
                    elastic.association = Association(elastic.association.id, eni.id, address)
        self.changed()

    def _check_assignable(self, eni: Interface, address: str, *, reassign: bool) -> None:
        network = ip_network(self.subnets[eni.subnet].cidr)
        number = int(ip_address(address)) - int(network.network_address)
        if ip_address(address) not in network or number < RESERVED or number == network.num_addresses - 1:
            raise Refused("InvalidParameterValue", f"Address {address} does not fall within the subnet's address range")
        owner = self.owner(address)
        if owner in {None, eni.id}:
            return
        if self.interfaces[str(owner)].addresses[0] == address:
            raise Refused("InvalidParameterValue", f"{address} is the primary address of {owner}")
        if not reassign:
            raise Refused("InvalidParameterValue", f"{address} is already assigned to another interface.")

    def unassign(self, eni: Interface, addresses: list[str]) -> None:
        for address in addresses:
            if address not in eni.addresses[1:]:
                raise Refused("InvalidParameterValue", f"{address} is not a secondary address of {eni.id}")
        eni.addresses = [address for address in eni.addresses if address not in addresses]
        for elastic in self.elastics.values():
            if elastic.association and elastic.association.address in addresses:
                elastic.association = None
        self.changed()

    def assign_ipv6(self, eni: Interface, addresses: list[str]) -> None:
        block = self.subnets[eni.subnet].ipv6_cidr
        for address in addresses:
            if block is None or ip_address(address) not in ip_network(block):
                raise Refused("InvalidParameterValue", f"{address} is not in the subnet's IPv6 CIDR block")
            if self.owner(address) not in {None, eni.id}:
                raise Refused("InvalidParameterValue", f"{address} is already assigned to another network interface")
        new = [address for address in addresses if address not in eni.ipv6]
        if len(eni.ipv6) + len(new) > self.addresses_per_interface:
            raise Refused("PrivateIpAddressLimitExceeded", f"Number of IPv6 addresses will exceed limit on {eni.id}.")
        eni.ipv6 += new
        self.changed()

    def unassign_ipv6(self, eni: Interface, addresses: list[str]) -> None:
        for address in addresses:
            if address not in eni.ipv6:
                raise Refused("InvalidParameterValue", f"{address} is not assigned to {eni.id}")
        eni.ipv6 = [address for address in eni.ipv6 if address not in addresses]
        self.changed()

    # --- routes

    def replace_route(self, table: Table, destination: str, eni: Interface) -> None:
        self._check_route(table, destination, eni)
        if destination not in table.routes:
            message = f"There is no route defined for '{destination}' in the route table. Use CreateRoute instead."
            raise Refused("InvalidParameterValue", message)
        table.routes[destination] = eni.id
        self.changed()

    def create_route(self, table: Table, destination: str, eni: Interface) -> None:
        self._check_route(table, destination, eni)
        if destination in table.routes:
            raise Refused("RouteAlreadyExists", f"The route identified by {destination} already exists.")
        if len(table.routes) >= table.limit:
            raise Refused("RouteLimitExceeded", f"The maximum number of routes has been reached in {table.id}")
        table.routes[destination] = eni.id
        self.changed()

    def _check_route(self, table: Table, destination: str, eni: Interface) -> None:
        if self.subnets[eni.subnet].vpc != table.vpc:
            raise Refused("InvalidParameterValue", f"route table {table.id} and {eni.id} belong to different networks")
        if destination.startswith("pl-"):
            if destination not in self.prefix_lists:
                raise Refused("InvalidPrefixListID.NotFound", f"The prefix list ID '{destination}' does not exist")
            return
        wanted = ip_network(destination)
        for block in map(ip_network, self.vpcs[table.vpc]):
            if block.version == wanted.version and wanted.network_address in block:
                message = (
                    f"The destination CIDR block {destination} is more specific than one of this VPC's CIDR blocks"
                )
                raise Refused("InvalidParameterValue", message)

    # --- Elastic IPs

    def associate(self, elastic: Elastic, eni: Interface, address: str, *, reassociate: bool) -> str:
        if address not in eni.addresses:
            raise Refused("InvalidParameterValue", f"{address} is not an address of {eni.id}")
        now = elastic.association
        if now is not None and (now.interface, now.address) == (eni.id, address):
            return now.id
        taken = [e for e in self.elastics.values() if e.association and e.association.address == address]
        if not reassociate and (now is not None or taken):
            raise Refused("Resource.AlreadyAssociated", f"{elastic.id} is already associated")
        for other in taken:
            other.association = None
        elastic.association = Association(f"eipassoc-{next(self.numbers)}", eni.id, address)
        self.changed()
        return elastic.association.id

    def disassociate(self, association: str) -> None:
        for elastic in self.elastics.values():
            if elastic.association and elastic.association.id == association:
                elastic.association = None
                self.changed()
                return
        raise Refused("InvalidAssociationID.NotFound", f"The association ID '{association}' does not exist")
