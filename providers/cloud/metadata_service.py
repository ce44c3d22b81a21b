"""Requests to a cloud's link-local metadata service: by IP address, without proxy and DNS, with a short timeout.

The endpoints are those of the vendors' own SDKs. The environment can set them as the vendors document.
"""

from __future__ import annotations

import http.client
import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from providers.base import Unanswered

_LINK_LOCAL: Final = "http://169.254.169.254"
_AWS_IPV6: Final = "http://[fd00:ec2::254]"
_LONGEST_ANSWER: Final = 1 << 20  # bytes


class MetadataError(Unanswered):
    """The metadata service does not answer, or its answer is not the expected one."""


@dataclass(frozen=True, slots=True)
class MetadataAnswer:
    """An answer of the metadata service. The names of `headers` are in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        """Return the body as text."""
        return self.body.decode(errors="replace")


def ask(
    endpoint: str, path: str, *, headers: Mapping[str, str] | None = None, method: str = "GET", timeout: float = 1.0
) -> MetadataAnswer:
    """Send one request and return its answer, whatever its status.

    Blocks for up to `timeout` seconds in each step: connecting, sending, receiving. `endpoint` is a URL with an IP
    address, because a name would need a lookup. Raises MetadataError.
    """
    host, port = _address(endpoint)
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request(method, path, headers=dict(headers or {}))
        response = connection.getresponse()
        answered = {name.lower(): value for name, value in response.getheaders()}
        return MetadataAnswer(response.status, response.read(_LONGEST_ANSWER), answered)
    except (OSError, http.client.HTTPException, UnicodeError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise MetadataError(f"{method} {endpoint}{path}: {reason}") from error
    finally:
        connection.close()


def aws_endpoint(environment: Mapping[str, str] = os.environ) -> str:
    """Return EC2's endpoint: AWS_EC2_METADATA_SERVICE_ENDPOINT, else by AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE."""
    given = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT")
    mode = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "")
    return (given or (_AWS_IPV6 if mode.lower() == "ipv6" else _LINK_LOCAL)).rstrip("/")


def azure_endpoint(environment: Mapping[str, str] = os.environ) -> str:
    """Return Azure's endpoint: AZURE_POD_IDENTITY_AUTHORITY_HOST, as in azure-identity."""
    return environment.get("AZURE_POD_IDENTITY_AUTHORITY_HOST", _LINK_LOCAL).rstrip("/")


def gcp_endpoint(environment: Mapping[str, str] = os.environ) -> str:
    """Return Google's endpoint: GCE_METADATA_HOST if it is an address, else GCE_METADATA_IP, as in google-auth."""
    host = environment.get("GCE_METADATA_HOST", "")
    address = environment.get("GCE_METADATA_IP", "")
    given = host if _is_address(host) else address
    return f"http://{given}" if given else _LINK_LOCAL


def _address(endpoint: str) -> tuple[str, int]:
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise MetadataError(f"{endpoint!r} is not a URL: {error}") from error
    if parts.scheme != "http" or not _is_address(f"[{host}]" if ":" in host else host):
        raise MetadataError(f"{endpoint!r} must be http:// and an IP address: a name would need DNS")
    return host, port or http.client.HTTP_PORT


def _is_address(authority: str) -> bool:
    """Return whether this is an IP address, with or without a port."""
    try:
        ip_address(urlsplit(f"//{authority}").hostname or "")
    except ValueError:
        return False
    return True
