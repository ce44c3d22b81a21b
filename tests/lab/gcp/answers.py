"""A project's resources as Compute Engine's answers show them."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from typing import Any

from tests.lab.gcp.cloud import PROJECT, Address, Cloud, Machine, Nic, Route, Subnet

_URL = "https://www.googleapis.com/compute/v1/"


def shown_machine(cloud: Cloud, machine: Machine) -> dict[str, Any]:
    return {
        "kind": "compute#instance",
        "id": _number(machine.path),
        "name": machine.name,
        "zone": f"{_URL}projects/{PROJECT}/zones/{machine.zone}",
        "status": "RUNNING" if machine.running else "TERMINATED",
        "canIpForward": machine.can_ip_forward,
        "tags": {"items": list(machine.tags), "fingerprint": _fingerprint(machine.tags)},
        "networkInterfaces": [shown_nic(cloud, nic) for nic in machine.nics],
        "serviceAccounts": [{"email": machine.service_account, "scopes": []}],
        "selfLink": _URL + machine.path,
    }


def shown_nic(cloud: Cloud, nic: Nic) -> dict[str, Any]:
    subnet = cloud.subnet(nic.subnet)
    shown: dict[str, Any] = {
        "kind": "compute#networkInterface",
        "name": nic.name,
        "network": f"{_URL}projects/{PROJECT}/global/networks/{subnet.network}",
        "subnetwork": _URL + subnet.path,
        "networkIP": nic.ip,
        "stackType": "IPV4_ONLY",
        "fingerprint": _fingerprint([nic.aliases, nic.access, nic.ip]),
    }
    if nic.aliases:  # Compute Engine never shows empty lists
        shown["aliasIpRanges"] = [dict(each) for each in nic.aliases]
    if nic.access:
        shown["accessConfigs"] = [dict(each) for each in nic.access]
    return shown


def shown_subnet(subnet: Subnet) -> dict[str, Any]:
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


def shown_route(route: Route) -> dict[str, Any]:
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


def shown_address(cloud: Cloud, address: Address) -> dict[str, Any]:
    path = f"projects/{PROJECT}/regions/{address.region}/addresses/{address.name}"
    users = [_URL + machine.path for machine, _ in cloud.with_external(address.address)]
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


def _fingerprint(content: Any) -> str:
    return b64encode(hashlib.sha256(json.dumps(content).encode()).digest()[:8]).decode()


def _number(path: str) -> str:
    return str(int.from_bytes(hashlib.sha256(path.encode()).digest()[:7]))
