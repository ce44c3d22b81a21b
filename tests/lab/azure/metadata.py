"""A fake of Azure's instance metadata service, as strict as the real one: header, api-version, no proxy, identities."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.lab.http.rest import Answer, Request

INSTANCE_VERSIONS = frozenset({"2021-02-01", "2021-12-13", "2023-07-01"})
TOKEN_VERSIONS = frozenset({"2018-02-01"})


@dataclass(frozen=True)
class Machine:
    """One virtual machine as its metadata service describes it. `macs` is by NIC, in upper case without colons."""

    name: str
    subscription: str
    resource_group: str = "rg"
    location: str = "westeurope"
    networks: tuple[Mapping[str, Any], ...] = ()  # "mac", "address", "prefix", "subnet"
    scale_set: str = ""

    def instance(self) -> dict[str, Any]:
        group = f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"
        return {
            "compute": {
                "name": self.name,
                "location": self.location,
                "azEnvironment": "AzurePublicCloud",
                "subscriptionId": self.subscription,
                "resourceGroupName": self.resource_group,
                "resourceId": f"{group}/providers/Microsoft.Compute/virtualMachines/{self.name}",
                "vmScaleSetName": self.scale_set,
            },
            "network": {"interface": [_interface(each) for each in self.networks]},
        }


def _interface(network: Mapping[str, Any]) -> dict[str, Any]:
    addresses = [{"privateIpAddress": network["address"], "publicIpAddress": ""}]
    subnets = [{"address": network["subnet"], "prefix": str(network["prefix"])}]
    return {
        "ipv4": {"ipAddress": addresses, "subnet": subnets},
        "ipv6": {"ipAddress": []},
        "macAddress": network["mac"],
    }


@dataclass
class Metadata:
    """The metadata service of one machine. `identities` are client ids of user-assigned identities."""

    machine: Machine
    identities: frozenset[str] = frozenset()
    system_assigned: bool = True
    seconds: int = 86400  # a token's life
    number: int = 1  # of the tokens that it issues now
    failing: list[int] = field(default_factory=list)  # statuses of the next answers
    requests: list[Request] = field(default_factory=list)

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        if self.failing:
            return Answer(self.failing.pop(0), {"error": "unavailable"})
        if request.headers.get("metadata", "").lower() != "true":
            return _refused("Required metadata header not specified")
        if "x-forwarded-for" in request.headers or "via" in request.headers:
            return _refused("Proxied requests are not allowed")
        if request.method != "GET":
            return Answer(405, {"error": "Method not allowed"})
        if request.path == "/metadata/instance":
            return self._instance(request)
        if request.path == "/metadata/identity/oauth2/token":
            return self._token(request)
        return Answer(404, {"error": "Not found"})

    def _instance(self, request: Request) -> Answer:
        if request.query.get("api-version") not in INSTANCE_VERSIONS:
            return Answer(400, {"error": "Bad request. api-version is invalid", "newest-versions": ["2021-12-13"]})
        return Answer(200, self.machine.instance())

    def _token(self, request: Request) -> Answer:
        query = request.query
        if query.get("api-version") not in TOKEN_VERSIONS or not query.get("resource"):
            return _refused("Required query variables are missing or invalid: api-version, resource")
        client = query.get("client_id")
        if client is None and not self.system_assigned and len(self.identities) != 1:
            return _refused("Multiple user assigned identities exist, please specify the clientId / resourceId")
        if client is not None and client not in self.identities:
            return _refused("Identity not found")
        who = client or ("system" if self.system_assigned else next(iter(self.identities)))
        now = int(time.time())
        return Answer(
            200,
            {
                "access_token": token(who, query["resource"], self.number),
                "client_id": who,
                "expires_in": str(self.seconds),
                "expires_on": str(now + self.seconds),
                "not_before": str(now),
                "resource": query["resource"],
                "token_type": "Bearer",
            },
        )


def token(who: str, resource: str, number: int = 1) -> str:
    """Return a token that the fake of Azure Resource Manager accepts as proof of an identity, for one audience."""
    return f"token|{who}|{resource.rstrip('/')}|{number}"


def _refused(why: str) -> Answer:
    return Answer(400, {"error": "invalid_request", "error_description": why})
