"""The types of values in the configuration file, each with a text that says what is allowed.

The JSON Schema carries these texts, too (`errorMessage`), so that an editor shows the same as `anyvip check-config`.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from providers.base import Vip

NAMES = "1 to 63 letters, digits, '.', '_' and '-', with a letter or digit at both ends"

_VIP = "an IPv4 or IPv6 address with prefix length, such as 10.0.0.5/24"
_LISTEN = 'an IP address and a port, such as "0.0.0.0:9010" or "[::]:9010"'

_STATE_DIR = "the absolute path of a directory, such as /run/anyvip"
_DATA_DIR = "the absolute path of a directory, such as /var/lib/anyvip"


def _describe_allowed(text: str) -> dict[str, Any]:
    return {"errorMessage": text}


def _vip(value: object) -> Vip:
    address, _, length = value.partition("/") if isinstance(value, str) else ("", "", "")
    if not _is_number(length) or "%" in address:
        raise ValueError(_VIP)
    try:
        vip = ipaddress.ip_interface(f"{address}/{length}")
    except ValueError as error:
        raise ValueError(_VIP) from error
    if vip.ip.is_multicast or vip.ip.is_loopback or vip.ip.is_unspecified or getattr(vip.ip, "ipv4_mapped", None):
        raise ValueError("an address that clients can reach: not multicast, loopback, unspecified or IPv4-mapped")
    if _is_the_network(vip):
        raise ValueError(f"the address of a host; this is the address of the network {vip.network} itself")
    return vip


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and str(int(text)) == text


def _is_the_network(vip: Vip) -> bool:
    """Reports whether the address means its network, not a host: host bits all zero, or all one in IPv4."""
    if vip.network.num_addresses <= 2:  # RFC 3021, RFC 6164: both addresses are hosts
        return False
    if vip.version == 4:
        return vip.ip in (vip.network.network_address, vip.network.broadcast_address)
    return vip.ip == vip.network.network_address  # the subnet-router anycast address, RFC 4291 section 2.6.1


def address_of(text: str) -> tuple[str, int]:
    """Returns host and port of ``10.0.0.1:9010`` or ``[::]:9010``. Raises ValueError, which says what is allowed."""
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        address = ipaddress.ip_address(bare)
    except ValueError as error:
        raise ValueError(_LISTEN) from error
    if (address.version == 6) != (bare != host) or not _is_number(port) or not 1 <= int(port) <= 65535:
        raise ValueError(_LISTEN)
    return str(address), int(port)


def _listen(text: str) -> str:
    address_of(text)
    return text


def _data_dir(value: object) -> Path:
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
        raise ValueError(_DATA_DIR)
    return Path(value)


def _state_dir(value: object) -> Path:
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
        raise ValueError(_STATE_DIR)
    return Path(value)


Name = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$", json_schema_extra=_describe_allowed(NAMES)),
]
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]
Argv = Annotated[
    tuple[Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")], ...],
    Field(
        json_schema_extra=_describe_allowed("a list: the program and its arguments, each a string (there is no shell)")
    ),
]
VipField = Annotated[
    Vip,
    PlainValidator(_vip),
    WithJsonSchema({"type": "string", "pattern": "^[0-9A-Fa-f:.]+/[0-9]{1,3}$", **_describe_allowed(_VIP)}),
]
Listen = Annotated[str, AfterValidator(_listen), Field(json_schema_extra=_describe_allowed(_LISTEN))]
HealthPath = Annotated[
    str,
    Field(
        pattern=r"^/([!\"$-.0->@-~][!\"$->@-~]*)?$",
        max_length=200,
        json_schema_extra=_describe_allowed(
            "a path that begins with '/', without '?', '#' and blanks, at most 200 characters"
        ),
    ),
]
SocketMode = Annotated[
    str,
    Field(pattern=r"^0?[0-7]{3}$", json_schema_extra=_describe_allowed('an octal mode in quotes, such as "0660"')),
]
StateDir = Annotated[
    Path,
    PlainValidator(_state_dir),
    WithJsonSchema({"type": "string", "pattern": "^/", **_describe_allowed(_STATE_DIR)}),
]
DataDir = Annotated[
    Path,
    PlainValidator(_data_dir),
    WithJsonSchema({"type": "string", "pattern": "^/", **_describe_allowed(_DATA_DIR)}),
]
