"""A fake of Compute Engine's metadata server, as strict as the real one: flavor header, no proxies, known scopes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

from tests.lab.gcp.cloud import NUMBER, PROJECT, Cloud, Machine
from tests.lab.gcp.requests import TOKEN
from tests.lab.http.rest import Answer, Request

_ROOT = "/computeMetadata/v1/"
_HEADERS = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM"}


@dataclass
class MetadataServer:
    """The metadata server of one machine."""

    cloud: Cloud
    machine: Machine
    seconds: int = 3600  # a token's life
    failing: list[int] = field(default_factory=list)  # statuses of the next answers
    requests: list[str] = field(default_factory=list)

    def answer(self, request: Request) -> Answer:
        self.requests.append(request.path)
        if self.failing:
            return Answer(self.failing.pop(0), b"", _HEADERS)
        if request.headers.get("metadata-flavor") != "Google" or "x-forwarded-for" in request.headers:
            return Answer(403, b"Missing Metadata-Flavor:Google header.", {"Content-Type": "text/html"})
        if not request.path.startswith(_ROOT) or request.method != "GET":
            return Answer(404, b"", _HEADERS)
        told = self._told(request.path.removeprefix(_ROOT).rstrip("/"), request.query)
        if told is None:
            return Answer(404, b"", _HEADERS)
        if isinstance(told, str) and request.query.get("alt") != "json":
            return Answer(200, told.encode(), {**_HEADERS, "Content-Type": "application/text"})
        return Answer(200, json.dumps(told).encode(), _HEADERS)

    def _told(self, path: str, query: Mapping[str, str]) -> Any:
        if path == "instance/service-accounts/default/token":
            return {
                "access_token": TOKEN + self.machine.service_account,
                "expires_in": self.seconds,
                "token_type": "Bearer",
            }
        plain = {
            "project/project-id": PROJECT,
            "instance/name": self.machine.name,
            "instance/zone": f"projects/{NUMBER}/zones/{self.machine.zone}",
        }
        if path == "instance/network-interfaces" and query.get("recursive") == "true":
            return [self._interface(nic) for nic in self.machine.nics]
        return plain.get(path)

    def _interface(self, nic: Any) -> dict[str, Any]:
        return {
            "ip": nic.ip,
            "subnetmask": str(ip_network(self.cloud.subnet(nic.subnet).cidr).netmask),
            "mac": nic.mac,
            "network": f"projects/{NUMBER}/networks/{self.cloud.subnet(nic.subnet).network}",
            "ipAliases": [each["ipCidrRange"] for each in nic.aliases],
            "forwardedIps": [],
            "accessConfigs": [{"externalIp": each.get("natIP", ""), "type": "ONE_TO_ONE_NAT"} for each in nic.access],
        }
