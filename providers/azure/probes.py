"""Whether the security groups of the network interface and of its subnet let a load balancer's probes in.

Incoming traffic passes both, the subnet's first (Microsoft: "How network security groups filter network traffic").
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Final

from providers.azure import permissions
from providers.azure.network import AzureNetwork, Named
from providers.azure.nic import Json, behind_load_balancer, configurations
from providers.base import Finding, Level, ProviderError
from providers.cloud.deadline import Deadline

PROBER: Final = "168.63.129.16"  # probes for every IPv4 load balancer ("What is IP address 168.63.129.16?")
_TAGS: Final = frozenset({"*", "AzureLoadBalancer"})


async def findings(network: AzureNetwork, nic: Json, port: int, until: Deadline) -> list[Finding]:
    """Return a finding for each security group before this NIC's `port`, none if no load balancer probes it."""
    if not behind_load_balancer(nic):
        return []
    found = await _let_in(network, f"network interface {nic['name']}", nic, port, until)
    name = configurations(nic)[0]["properties"]["subnet"]["id"]  # all configurations are in the same subnet
    virtual_network, _, subnet = name.rpartition("/subnets/")
    try:
        named = Named.of(virtual_network, "virtualNetworks", await network.machine(until))
        read = await network.subnet(named, subnet, until)
    except ProviderError as error:
        return [*found, _not_looked_at(f"subnet {subnet}", error, permissions.READ_SUBNET)]
    return [*found, *await _let_in(network, f"subnet {subnet}", read, port, until)]


async def _let_in(network: AzureNetwork, what: str, guarded: Json, port: int, until: Deadline) -> list[Finding]:
    group = guarded["properties"].get("networkSecurityGroup")
    if group is None:
        return []
    try:
        named = Named.of(group["id"], "networkSecurityGroups", await network.machine(until))
        rules = await network.security_group(named, until)
    except ProviderError as error:
        return [_not_looked_at(what, error, permissions.READ_SECURITY_GROUP)]
    refusing = refusing_rule(rules, port)
    if refusing:
        remedy = f"add a rule before it that allows the service tag AzureLoadBalancer to reach port {port}"
        text = f"the security rule {refusing} denies {PROBER} access to port {port}"
        return [Finding(Level.WARNING, "azure.security_group", f"health probes, {what}", text, remedy)]
    return [
        Finding(
            Level.OK,
            "azure.security_group",
            f"health probes, {what}",
            f"the security group allows {PROBER} to reach port {port}",
        )
    ]


def _not_looked_at(what: str, error: ProviderError, permission: str) -> Finding:
    remedy = f"allow {permission}, or check that {PROBER} can reach the health port"
    return Finding(Level.WARNING, "azure.security_group", f"health probes, {what}", f"not checked: {error}", remedy)


def refusing_rule(group: Json, port: int) -> str | None:
    """Return the name of the rule that denies load balancers' probes access to a port.

    Returns None when the probes get there, as they do by default.
    """
    rules = [rule["properties"] | {"name": rule["name"]} for rule in group["properties"].get("securityRules") or []]
    for rule in sorted(rules, key=lambda rule: int(rule["priority"])):
        sources = _both(rule, "sourceAddressPrefix", "sourceAddressPrefixes")
        ports = _both(rule, "destinationPortRange", "destinationPortRanges")
        tcp = rule["protocol"].lower() in ("*", "tcp")
        if rule["direction"] == "Inbound" and tcp and any(map(_probes, sources)) and any(_has(port, r) for r in ports):
            return None if rule["access"] == "Allow" else str(rule["name"])
    return None


def _both(rule: Json, one: str, several: str) -> Iterator[str]:
    """Yield the values of a rule, which has a single value in one field and several in another."""
    if rule.get(one):
        yield rule[one]
    yield from rule.get(several) or ()


def _probes(source: str) -> bool:
    if source in _TAGS:
        return True
    try:
        return ip_address(PROBER) in ip_network(source, strict=False)
    except ValueError:  # it is another service tag
        return False


def _has(port: int, ports: str) -> bool:
    first, _, last = ports.partition("-")
    return ports == "*" or int(first) <= port <= int(last or first)
