"""Netlink attributes, which make up the body of a message (netlink(7), linux/netlink.h). Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_ATTRIBUTE = struct.Struct("=HH")
_NESTED = 0x8000
_TYPE_MASK = 0x3FFF


def attribute(kind: int, value: bytes) -> bytes:
    """Pack one attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def nest(kind: int, *attributes: bytes) -> bytes:
    """Pack an attribute that holds attributes."""
    return attribute(kind | _NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """Pack a string attribute, ended by NUL."""
    return attribute(kind, value.encode() + b"\0")


def u32(kind: int, value: int) -> bytes:
    """Pack a 32-bit attribute in host order (rtnetlink)."""
    return attribute(kind, struct.pack("=I", value))


def be32(kind: int, value: int) -> bytes:
    """Pack a 32-bit attribute in network order (nf_tables)."""
    return attribute(kind, struct.pack("!I", value))


def be64(kind: int, value: int) -> bytes:
    """Pack a 64-bit attribute in network order (nf_tables)."""
    return attribute(kind, struct.pack("!Q", value))


def attributes(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield the attributes in data from offset on, as (kind, value). Skips a malformed tail."""
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > len(data):
            return
        yield kind & _TYPE_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def string(value: bytes) -> str:
    """Return the text of a string attribute."""
    return value.rstrip(b"\0").decode(errors="replace")
