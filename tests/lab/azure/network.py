"""What Microsoft.Network refuses in well-formed requests: addresses in use, primaries, prefixes, missing joins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from azure.mgmt.network import models

Json = dict[str, Any]


class Refused(Exception):  # noqa: N818  (an answer)
    """ARM's error: status, code, message."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})


@dataclass(frozen=True)
class Kind:
    """One resource type: its model, and the actions that reading and writing it need."""

    model: type
    action: str

    @property
    def read(self) -> str:
        return f"Microsoft.Network/{self.action}/read"

    @property
    def write(self) -> str:
        return f"Microsoft.Network/{self.action}/write"


KINDS: Mapping[str, Kind] = {
    "networkinterfaces": Kind(models.NetworkInterface, "networkInterfaces"),
    "routetables": Kind(models.RouteTable, "routeTables"),
    "routetables/routes": Kind(models.Route, "routeTables/routes"),
    "publicipaddresses": Kind(models.PublicIPAddress, "publicIPAddresses"),
    "networksecuritygroups": Kind(models.NetworkSecurityGroup, "networkSecurityGroups"),
    "virtualnetworks/subnets": Kind(models.Subnet, "virtualNetworks/subnets"),
}

# What a NIC refers to, and the action on it that a write of the NIC needs.
_JOINS = {
    "networkSecurityGroup": "Microsoft.Network/networkSecurityGroups/join/action",
    "subnet": "Microsoft.Network/virtualNetworks/subnets/join/action",
    "publicIPAddress": "Microsoft.Network/publicIPAddresses/join/action",
    "loadBalancerBackendAddressPools": "Microsoft.Network/loadBalancers/backendAddressPools/join/action",
    "loadBalancerInboundNatRules": "Microsoft.Network/loadBalancers/inboundNatRules/join/action",
    "applicationSecurityGroups": "Microsoft.Network/applicationSecurityGroups/joinIpConfiguration/action",
}


def joins(nic: Json) -> Iterator[tuple[str, str]]:
    """Yield action and id of everything that a NIC is joined to."""
    for part in (nic["properties"], *(config["properties"] for config in configurations(nic))):
        for key, action in _JOINS.items():
            found = part.get(key) or []
            for each in found if isinstance(found, list) else [found]:
                yield action, each["id"]


def configurations(nic: Json) -> list[Json]:
    return list(nic["properties"].get("ipConfigurations") or [])


def check_nic(fresh: Json, old: Json | None, others: Mapping[str, Json], subnets: Mapping[str, Json]) -> None:
    """Raise Refused for an impossible NIC.

    `others` has every other NIC as it is and, while a write of it is running, as it was: it still holds its addresses.
    """
    configs = configurations(fresh)
    if not configs:
        raise Refused(400, "NetworkInterfaceMustHaveIpConfiguration", "a NIC has at least one IP configuration")
    names = [config.get("name") for config in configs]
    if None in names or len({str(name).lower() for name in names}) != len(names):
        raise Refused(400, "InvalidResourceName", f"names of IP configurations must be there, and differ: {names}")
    primary = [config["name"] for config in configs if config["properties"].get("primary")]
    if len(primary) != 1:
        raise Refused(400, "NetworkInterfaceMustHaveOnePrimaryIPConfig", f"exactly one must be primary: {primary}")
    if old and primary != [config["name"] for config in configurations(old) if config["properties"].get("primary")]:
        raise Refused(400, "PrimaryIPConfigurationCannotBeChanged", "the primary IP configuration stays")
    if sum(config["properties"].get("privateIPAddressVersion") == "IPv6" for config in configs) > 1:
        raise Refused(400, "MultipleIPv6ConfigurationsNotSupported", "one IPv6 configuration for each NIC")
    if len({config["properties"].get("subnet", {}).get("id", "").lower() for config in configs}) != 1:
        raise Refused(400, "IpConfigurationsOnSameNicCannotUseDifferentSubnets", "one subnet for each NIC")
    for config in configs:
        _check_address(config, subnets)
    _check_taken(configs, others)


def _check_address(config: Json, subnets: Mapping[str, Json]) -> None:
    properties = config["properties"]
    subnet = subnets.get(properties.get("subnet", {}).get("id", "").lower())
    if subnet is None:
        raise Refused(400, "InvalidResourceReference", f"{config['name']}: no such subnet")
    address = properties.get("privateIPAddress")
    if properties.get("privateIPAllocationMethod", "Dynamic") == "Static" and not address:
        raise Refused(400, "StaticAddressNotSpecified", f"{config['name']}: a static address must be given")
    if not address:
        return
    prefixes = [ip_network(p) for p in subnet["properties"].get("addressPrefixes") or []]
    prefixes += [ip_network(p) for p in [subnet["properties"].get("addressPrefix")] if p]
    if not any(ip_address(address) in prefix for prefix in prefixes):
        raise Refused(400, "PrivateIPAddressNotInSubnet", f"{address} is not in {subnet['name']}")


def _check_taken(configs: list[Json], others: Mapping[str, Json]) -> None:
    addresses = [config["properties"].get("privateIPAddress") for config in configs]
    publics = [
        config["properties"]["publicIPAddress"]["id"].lower()
        for config in configs
        if config["properties"].get("publicIPAddress")
    ]
    if len(set(addresses)) != len(addresses):
        raise Refused(400, "PrivateIPAddressIsAllocated", "one address is in several configurations")
    if len(set(publics)) != len(publics):
        raise Refused(400, "PublicIpReferencedByMultipleIPConfigs", "one public address is in several configurations")
    for other in others.values():
        for config in configurations(other):
            taken = config["properties"]
            if taken.get("privateIPAddress") in addresses:
                said = f"the private IP address {taken['privateIPAddress']} is already allocated to {config['id']}"
                raise Refused(400, "PrivateIPAddressIsAllocated", said)
            if taken.get("publicIPAddress") and taken["publicIPAddress"]["id"].lower() in publics:
                said = f"{taken['publicIPAddress']['id']} is already allocated to {config['id']}"
                raise Refused(400, "PublicIPAddressInUse", said)


def check_route(name: str, fresh: Json, table: Json) -> None:
    """Raise Refused for an impossible route."""
    properties = fresh.get("properties") or {}
    for key in ("addressPrefix", "nextHopType"):
        if not properties.get(key):
            raise Refused(400, "InvalidRequestFormat", f"properties.{key} is required")
    appliance = properties["nextHopType"] == "VirtualAppliance"
    if appliance != bool(properties.get("nextHopIpAddress")):
        raise Refused(400, "InvalidNextHopIpAddress", "a next hop address goes with VirtualAppliance, and only with it")
    try:
        ip_network(properties["addressPrefix"])
        ip_address(properties.get("nextHopIpAddress", "0.0.0.0"))
    except ValueError as error:
        raise Refused(400, "InvalidAddressPrefixFormat", str(error)) from error
    for route in table["properties"].get("routes") or []:
        same = route["properties"]["addressPrefix"] == properties["addressPrefix"]
        if same and route["name"].lower() != name.lower():
            raise Refused(400, "RoutesHaveSameAddressPrefix", f"{route['name']} is for this prefix already")
