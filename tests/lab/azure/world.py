"""A virtual network in the fake of Azure: a subnet, route tables, and a NIC with all possible fields for each node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.lab.azure.arm import Arm
from tests.lab.azure.metadata import Machine

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
NETWORK = f"{GROUP}/providers/Microsoft.Network"
SUBNET = f"{NETWORK}/virtualNetworks/vnet/subnets/front"
NSG = f"{NETWORK}/networkSecurityGroups/nsg"
POOL = f"{NETWORK}/loadBalancers/lb/backendAddressPools/pool"
LOCATION = "westeurope"


@dataclass(frozen=True)
class Node:
    """One virtual machine: its number, NIC and address."""

    number: int

    @property
    def name(self) -> str:
        return f"n{self.number}"

    @property
    def nic(self) -> str:
        return f"{NETWORK}/networkInterfaces/nic{self.number}"

    @property
    def mac(self) -> str:
        return f"000D3A0000{self.number:02X}"

    @property
    def address(self) -> str:
        return f"10.7.0.{10 + self.number}"

    @property
    def machine(self) -> Machine:
        network = {"mac": self.mac, "address": self.address, "prefix": 24, "subnet": "10.7.0.0"}
        return Machine(self.name, SUBSCRIPTION, networks=(network,))

    def configuration(self, name: str) -> str:
        return f"{self.nic}/ipConfigurations/{name}"


def ip_config(name: str, address: str, *, primary: bool = False, **more: Any) -> dict[str, Any]:
    properties = {
        "privateIPAddress": address,
        "privateIPAllocationMethod": "Static",
        "privateIPAddressVersion": "IPv6" if ":" in address else "IPv4",
        "primary": primary,
        "subnet": {"id": SUBNET},
    }
    return {"name": name, "properties": {**properties, **more}}


def nic(node: Node, *secondary: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return a node's NIC with everything that a careless PUT would lose."""
    primary = ip_config(
        "primary",
        node.address,
        primary=True,
        loadBalancerBackendAddressPools=[{"id": POOL}],
        loadBalancerInboundNatRules=[{"id": f"{NETWORK}/loadBalancers/lb/inboundNatRules/ssh"}],
        applicationSecurityGroups=[{"id": f"{NETWORK}/applicationSecurityGroups/web"}],
    )
    properties = {
        "ipConfigurations": [primary, *secondary],
        "enableIPForwarding": True,
        "enableAcceleratedNetworking": True,
        "disableTcpStateTracking": False,
        "networkSecurityGroup": {"id": NSG},
        "dnsSettings": {"dnsServers": ["10.7.0.4", "10.7.0.5"], "internalDnsNameLabel": node.name},
        "auxiliaryMode": "AcceleratedConnections",
        "auxiliarySku": "A2",
        "workloadType": "anything",
        "nicType": "Standard",
        "macAddress": "-".join(node.mac[at : at + 2] for at in range(0, 12, 2)),
        "virtualMachine": {"id": f"{GROUP}/providers/Microsoft.Compute/virtualMachines/{node.name}"},
        **more,
    }
    tags = {"team": "shop", "cost": "42"}
    return {"location": LOCATION, "tags": tags, "type": "Microsoft.Network/networkInterfaces", "properties": properties}


def network(arm: Arm) -> None:
    """Add the subnet and a security group that lets probes in."""
    arm.add(
        SUBNET, {"properties": {"addressPrefixes": ["10.7.0.0/24", "fd07::/64"], "networkSecurityGroup": {"id": NSG}}}
    )
    arm.add(NSG, {"location": LOCATION, "properties": {"securityRules": []}})


def route_table(arm: Arm, name: str, prefix: str, next_hop: str, **others: str) -> str:
    """Add a table with the route `vip` to `prefix` and the routes in `others`, and return its id."""
    routes = {"vip": (prefix, next_hop), **{key: (value, "10.7.0.99") for key, value in others.items()}}
    listed = [
        {"name": key, "properties": {"addressPrefix": to, "nextHopType": "VirtualAppliance", "nextHopIpAddress": hop}}
        for key, (to, hop) in routes.items()
    ]
    properties = {"routes": listed, "disableBgpRoutePropagation": True}
    return arm.add(f"{NETWORK}/routeTables/{name}", {"location": LOCATION, "properties": properties})


def public_ip(arm: Arm, name: str, address: str) -> str:
    properties = {"ipAddress": address, "publicIPAllocationMethod": "Static", "publicIPAddressVersion": "IPv4"}
    body = {"location": LOCATION, "sku": {"name": "Standard"}, "properties": properties}
    return arm.add(f"{NETWORK}/publicIPAddresses/{name}", body)
