"""This virtual machine, as Azure's instance metadata service (Microsoft's page of that name) describes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any, Final

from providers.base import ProviderError, Vip
from providers.cloud.metadata_service import MetadataAnswer, MetadataError, ask, azure_endpoint

_PATH: Final = "/metadata/instance?api-version=2021-12-13"
_LINKS: Final = Path("/sys/class/net")


@dataclass(frozen=True, slots=True)
class Interface:
    """One NIC of this machine. `mac` is twelve digits in upper case, as the metadata service writes it."""

    mac: str
    addresses: tuple[IPv4Address | IPv6Address, ...]
    networks: tuple[IPv4Network, ...]  # of its subnet; the service reports only the IPv4 ones

    def address_for(self, version: int) -> IPv4Address | IPv6Address | None:
        """Return the first address of an IP version, a route's next hop, or None."""
        return next((address for address in self.addresses if address.version == version), None)


@dataclass(frozen=True, slots=True)
class Machine:
    """This virtual machine. `environment` names the cloud, such as `AzurePublicCloud`."""

    name: str
    subscription: str
    resource_group: str
    environment: str
    scale_set: str
    interfaces: tuple[Interface, ...]

    def interface(self, link: str | None, vips: Iterable[Vip]) -> Interface:
        """Return the NIC behind a link, or without a link the NIC in the VIPs' subnet, or else the first NIC.

        Raises ProviderError when Azure does not know the link or the machine has no NIC.
        """
        if not self.interfaces:
            raise ProviderError(f"the metadata service knows no network interface of {self.name}")
        if link is not None:
            mac = _mac(link)
            for interface in self.interfaces:
                if interface.mac == mac:
                    return interface
            raise ProviderError(f"Azure knows no network interface of {self.name} with the MAC of {link} ({mac})")
        for vip in vips:
            for interface in self.interfaces:
                if any(vip.ip in network for network in interface.networks):
                    return interface
        return self.interfaces[0]


def this_machine(timeout: float = 1.0) -> Machine:
    """Ask the metadata service. Blocks for up to `timeout` seconds in each step. Raises MetadataError."""
    answer = ask(azure_endpoint(), _PATH, headers={"Metadata": "true"}, timeout=timeout)
    return parse(answer)


def parse(answer: MetadataAnswer) -> Machine:
    """Parse the metadata service's answer. Raises MetadataError."""
    if answer.status != 200:
        raise MetadataError(f"Azure's metadata service answers {answer.status}: {answer.text[:200]}")
    try:
        said = json.loads(answer.body)
        compute = said["compute"]
        return Machine(
            name=compute["name"],
            subscription=compute["subscriptionId"],
            resource_group=compute["resourceGroupName"],
            environment=compute.get("azEnvironment", ""),
            scale_set=compute.get("vmScaleSetName", ""),
            interfaces=tuple(_interface(each) for each in said["network"]["interface"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MetadataError(f"unexpected answer from Azure's metadata service: {error!r}") from error


def _mac(link: str) -> str:
    try:
        return (_LINKS / link / "address").read_text().strip().replace(":", "").upper()
    except OSError as error:
        raise ProviderError(f"there is no interface {link}") from error


def _interface(said: Mapping[str, Any]) -> Interface:
    four, six = said.get("ipv4", {}), said.get("ipv6", {})
    addresses = [each["privateIpAddress"] for part in (four, six) for each in part.get("ipAddress", ())]
    networks = [f"{each['address']}/{each['prefix']}" for each in four.get("subnet", ())]
    return Interface(
        mac=said["macAddress"].replace(":", "").replace("-", "").upper(),
        addresses=tuple(ip_address(address) for address in addresses),
        networks=tuple(network for each in networks if isinstance(network := ip_network(each), IPv4Network)),
    )
