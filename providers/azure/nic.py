"""Azure's network interfaces as JSON, and the changes that a move makes to them. Pure.

Azure resets whatever a write of a NIC leaves out. So a mover reads the NIC, changes one part of it and writes the rest
back unchanged, including fields that this SDK does not know.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from ipaddress import ip_address
from typing import Any, Final

Json = dict[str, Any]

_TOLD: Final = ("id", "etag", "type")  # the platform sets these for a configuration in one NIC
SETTLED: Final = "Succeeded"
UNDER_WAY: Final = frozenset({"Updating", "Creating", "Deleting"})


def state(resource: Mapping[str, Any]) -> str:
    """Return the provisioning state: `Succeeded`, `Updating`, `Failed` and so on."""
    return str((resource.get("properties") or {}).get("provisioningState", SETTLED))


def same(one: str, other: str) -> bool:
    """Report whether two resource ids are the same. Azure does not preserve their case."""
    return one.lower() == other.lower()


def configurations(nic: Mapping[str, Any]) -> list[Json]:
    """Return the IP configurations in their order."""
    return list((nic.get("properties") or {}).get("ipConfigurations") or [])


def primary(nic: Mapping[str, Any]) -> Json | None:
    """Return the primary IP configuration, or None."""
    return next((each for each in configurations(nic) if each["properties"].get("primary")), None)


def address_of(configuration: Mapping[str, Any]) -> str:
    """Return the configuration's private address in its canonical form, or an empty string."""
    address = configuration["properties"].get("privateIPAddress") or ""
    return str(ip_address(address)) if address else ""


def holding(nic: Mapping[str, Any], addresses: Collection[str]) -> list[Json]:
    """Return the configurations that have one of these addresses."""
    return [each for each in configurations(nic) if address_of(each) in addresses]


def behind_load_balancer(nic: Mapping[str, Any]) -> bool:
    """Report whether a load balancer sends traffic, and therefore probes, to this NIC."""
    return any(each["properties"].get("loadBalancerBackendAddressPools") for each in configurations(nic))


def without(nic: Mapping[str, Any], addresses: Collection[str]) -> Json:
    """Return the NIC without the configurations of these addresses."""
    fresh = deepcopy(dict(nic))
    kept = [each for each in configurations(fresh) if address_of(each) not in addresses]
    fresh["properties"]["ipConfigurations"] = kept
    return fresh


def with_added(nic: Mapping[str, Any], moved: Collection[Mapping[str, Any]]) -> Json:
    """Return the NIC with these configurations added as secondary ones, with everything attached to them."""
    fresh = deepcopy(dict(nic))
    names = {each["name"].lower() for each in configurations(fresh)}
    added = []
    for configuration in moved:
        arriving = {key: deepcopy(value) for key, value in configuration.items() if key not in _TOLD}
        arriving["name"] = next(name for name in _names(configuration["name"]) if name.lower() not in names)
        names.add(arriving["name"].lower())
        properties = {key: value for key, value in arriving["properties"].items() if key != "provisioningState"}
        # A dynamic address would change when it moves.
        arriving["properties"] = properties | {"primary": False, "privateIPAllocationMethod": "Static"}
        added.append(arriving)
    fresh["properties"]["ipConfigurations"] = [*configurations(fresh), *added]
    return fresh


def new_configuration(nic: Mapping[str, Any], address: str) -> Json:
    """Return a configuration, in the NIC's own subnet, for an address that no NIC has."""
    beside = primary(nic)
    subnet = {} if beside is None else {"subnet": beside["properties"]["subnet"]}
    version = f"IPv{ip_address(address).version}"
    properties = {"privateIPAddress": address, "privateIPAddressVersion": version, **subnet}
    return {"name": f"anyvip-{address.replace('.', '-').replace(':', '-')}", "properties": properties}


def with_public_ip(nic: Mapping[str, Any], configuration: str, public_ip: str | None) -> Json:
    """Return the NIC with the public IP address of this id, or with none, in the configuration of this name."""
    fresh = deepcopy(dict(nic))
    for each in configurations(fresh):
        if same(each["name"], configuration):
            each["properties"].pop("publicIPAddress", None)
            if public_ip is not None:
                each["properties"]["publicIPAddress"] = {"id": public_ip}
    return fresh


def _names(wanted: str) -> Iterator[str]:
    yield wanted
    number = 2
    while True:
        yield f"{wanted}-{number}"
        number += 1
