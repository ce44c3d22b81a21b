"""This instance and its network interfaces, as EC2's instance metadata service, version 2 (IMDSv2), reports them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from providers.base import ProviderError
from providers.cloud import metadata_service
from providers.cloud.metadata_service import MetadataAnswer, MetadataError
from providers.linux import rtnetlink
from providers.linux.netlink import ROUTE, Socket

_TOKEN_SECONDS: Final = 21600  # the longest that IMDSv2 allows
_HEADER: Final = "X-aws-ec2-metadata-token"
_META: Final = "/latest/meta-data"
_MACS: Final = f"{_META}/network/interfaces/macs"
_NOT_FOUND: Final = 404
_UNAUTHORIZED: Final = 401

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Nic:
    """An elastic network interface, as the metadata service reports it to its own instance."""

    id: str
    mac: str
    subnet: str
    vpc: str
    account: str
    address: str  # the primary one
    networks: tuple[Network, ...]  # of its subnet
    vpc_networks: tuple[Network, ...]


class Imds:
    """A client of the metadata service that replaces a refused session token.

    Its methods block. Safe for use by several threads.
    """

    def __init__(self, timeout: float = 2.0) -> None:
        """Set `timeout`, the seconds for each step of a request. Requests use no proxy and resolve no names."""
        self._timeout = timeout
        self._token: str | None = None
        self._lock = threading.Lock()

    def text(self, path: str) -> str:
        """Return what the service has at `path`. Raises MetadataError."""
        found = self.optional(path)
        if found is None:
            raise MetadataError(f"the metadata service has no {path}")
        return found

    def optional(self, path: str) -> str | None:
        """Return what the service has at `path`, or None where it has nothing. Raises MetadataError."""
        answer = self._query(path)
        if answer.status == _UNAUTHORIZED:  # the token has expired, or the instance was stopped and started elsewhere
            with self._lock:
                self._token = None
            answer = self._query(path)
        if answer.status == _NOT_FOUND:
            return None
        return _good(answer, path).text.strip()

    def _query(self, path: str) -> MetadataAnswer:
        return self._ask(path, {_HEADER: self._current_token()})

    def _current_token(self) -> str:
        with self._lock:
            if self._token is None:
                path = "/latest/api/token"
                answer = self._ask(path, {f"{_HEADER}-ttl-seconds": str(_TOKEN_SECONDS)}, "PUT")
                self._token = _good(answer, path).text
            return self._token

    def _ask(self, path: str, headers: dict[str, str], method: str = "GET") -> MetadataAnswer:
        endpoint = metadata_service.aws_endpoint()
        return metadata_service.ask(endpoint, path, headers=headers, method=method, timeout=self._timeout)


def nic(imds: Imds, interface: str | None) -> Nic:
    """Return the elastic network interface behind an interface of this host.

    None and loopback mean the instance's primary one. Blocks. Raises ProviderError.
    """
    mac = None if interface is None else _mac(interface)
    wanted = mac or imds.text(f"{_META}/mac")
    known = _macs(imds)
    if wanted not in known:
        raise ProviderError(
            f"EC2 knows no network interface with {interface}'s MAC address {wanted}, only {', '.join(known)}: "
            "set `interface`"
        )
    return _describe(imds, wanted)


def nics(imds: Imds) -> list[Nic]:
    """Return all elastic network interfaces of this instance. Blocks. Raises ProviderError."""
    return [_describe(imds, mac) for mac in _macs(imds)]


def _macs(imds: Imds) -> list[str]:
    return [line.rstrip("/") for line in imds.text(f"{_MACS}/").split()]


def _describe(imds: Imds, mac: str) -> Nic:
    def text(name: str) -> str:
        return imds.text(f"{_MACS}/{mac}/{name}")

    def networks(*names: str) -> tuple[Network, ...]:
        found = (imds.optional(f"{_MACS}/{mac}/{name}") or "" for name in names)
        return tuple(ip_network(each) for some in found for each in some.split())

    return Nic(
        id=text("interface-id"),
        mac=mac,
        subnet=text("subnet-id"),
        vpc=text("vpc-id"),
        account=text("owner-id"),
        address=text("local-ipv4s").split()[0],
        networks=networks("subnet-ipv4-cidr-block", "subnet-ipv6-cidr-blocks"),
        vpc_networks=networks("vpc-ipv4-cidr-blocks", "vpc-ipv6-cidr-blocks"),
    )


def _mac(interface: str) -> str | None:
    """Return the MAC address of an interface of this host, or None if it has none. Raises ProviderError."""
    with Socket(ROUTE) as kernel:
        mac = rtnetlink.link(kernel, interface).mac
    return None if mac is None or not any(mac) else mac.hex(":")


def _good(answer: MetadataAnswer, path: str) -> MetadataAnswer:
    if not 200 <= answer.status < 300:
        raise MetadataError(f"the metadata service answers {answer.status} to {path}{_hint(answer.status)}")
    return answer


def _hint(status: int) -> str:
    return ": access to the service is turned off for this instance" if status == 403 else ""
