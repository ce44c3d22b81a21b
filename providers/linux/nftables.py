"""nf_tables requests: the netdev family's tables, chains, rules, sets and elements, as netlink messages. Pure.

Layout and numbers are from linux/netfilter/nf_tables.h. Names follow nft(8), which prints what these requests make.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from providers.linux.attributes import attribute, be32, be64, nest, text
from providers.linux.netlink import ACK, CREATE, Message

NETDEV = 5  # NFPROTO_NETDEV
INGRESS = 0
EGRESS = 1

OWNER = 0x2  # NFT_TABLE_F_OWNER: no other socket can change the table
PERSIST = 0x4  # NFT_TABLE_F_PERSIST: it outlives its owner (kernel 6.9)

NEW_TABLE, GET_TABLE, DELETE_TABLE = 0, 1, 2
NEW_CHAIN, GET_CHAIN, DELETE_CHAIN = 3, 4, 5
NEW_RULE, GET_RULE, DELETE_RULE = 6, 7, 8
NEW_SET, GET_SET, DELETE_SET = 9, 10, 11
NEW_ELEMENT, GET_ELEMENT, DELETE_ELEMENT = 12, 13, 14

# nft's numbers of data types, which tell it how to print keys and values.
TYPE_INTEGER = 4
TYPE_IPV4 = 7
TYPE_IPV6 = 8
TYPE_MARK = 19

_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_BATCH_BEGIN = 0x10
_BATCH_END = 0x11
_FAMILY = struct.pack("!BBH", NETDEV, 0, 0)
_BATCH = struct.pack("!BBH", 0, 0, _SUBSYSTEM)
_APPEND = 0x800
_MAP = 0x8  # NFT_SET_MAP
_TIMEOUT = 0x10  # NFT_SET_TIMEOUT
_VERDICT = 0xFFFFFF00  # NFT_DATA_VERDICT
_ELEMENTS_PER_MESSAGE = 500  # an attribute's length has 16 bits

DROP = 0
ACCEPT = 1
JUMP = 0xFFFFFFFD  # -3
GOTO = 0xFFFFFFFC  # -4
LINK_HEADER, NETWORK_HEADER, TRANSPORT_HEADER = 0, 1, 2
META_PROTOCOL = 1
META_MARK = 3
META_L4PROTO = 16

Element = tuple[bytes, str | None]  # a key, and in a verdict map the chain that it leads to


def kind(message: int) -> int:
    """Return the netlink message type of an nf_tables request."""
    return _SUBSYSTEM << 8 | message


def request(message: int, *parts: bytes, flags: int = 0) -> Message:
    """Pack one request in the netdev family."""
    return Message(kind(message), flags, _FAMILY + b"".join(parts))


def transaction(messages: Sequence[Message]) -> list[Message]:
    """Make one transaction of the messages: all of them take effect, or none. The last one is acknowledged."""
    last = messages[-1]
    return [
        Message(_BATCH_BEGIN, 0, _BATCH),
        *messages[:-1],
        Message(last.kind, last.flags | ACK, last.body),
        Message(_BATCH_END, 0, _BATCH),
    ]


def comment(value: str) -> bytes:
    """Pack user data that nft prints as a comment."""
    return _user_data(0, value.encode()[:127] + b"\0")


# --- objects -----------------------------------------------------------------------------------------------------


def table(name: str, flags: int, note: str) -> Message:
    """Create a table, or take over one without an owner."""
    return request(NEW_TABLE, text(1, name), be32(2, flags), attribute(6, comment(note)), flags=CREATE)


def chain(table_name: str, name: str) -> Message:
    """Create a chain that others jump to."""
    return request(NEW_CHAIN, text(1, table_name), text(3, name), flags=CREATE)


def base_chain(table_name: str, name: str, hook: int, interface: str, priority: int) -> Message:
    """Create a chain that sees every packet that enters or leaves one interface."""
    hooked = nest(4, be32(1, hook), be32(2, priority & 0xFFFFFFFF), text(3, interface))
    return request(NEW_CHAIN, text(1, table_name), text(3, name), hooked, text(7, "filter"), flags=CREATE)


def rule(table_name: str, chain_name: str, note: str, *expressions: bytes) -> Message:
    """Append a rule. nft prints `note` as its comment, and the guard recognises a listed rule by it."""
    body = nest(4, *expressions)
    return request(
        NEW_RULE,
        text(1, table_name),
        text(2, chain_name),
        body,
        attribute(7, comment(note)),
        flags=CREATE | _APPEND,
    )


def make_set(table_name: str, name: str, identifier: int, key: tuple[int, int], size: int) -> Message:
    """Create a set of at most `size` elements. `key` is (nft's data type, bytes). The number of buckets is fixed."""
    return _set(table_name, name, identifier, key, 0, nest(9, be32(1, size)))


def make_timed_set(table_name: str, name: str, identifier: int, key: tuple[int, int]) -> Message:
    """Create a set whose elements expire by themselves; one that is added without a timeout expires immediately."""
    return _set(table_name, name, identifier, key, _TIMEOUT, be64(11, 1))


def make_verdict_map(
    table_name: str, name: str, identifier: int, key: tuple[int, int], user_data: bytes = b""
) -> Message:
    """Create a map from `key` to the chain that its packets continue in. `user_data`: see `typeof_payload`."""
    described = (attribute(13, user_data),) if user_data else ()
    return _set(table_name, name, identifier, key, _MAP, be32(6, _VERDICT), be32(7, 16), *described)


def typeof_payload(base: int, offset: int, length: int) -> bytes:
    """Pack the user data of a map whose keys are bytes of the packet: nft prints and reads it as `typeof @nh,384,128`.

    The numbers are nft's own: those of its kinds of expression (payload 7, verdict 1) and of its headers, from 1 on.
    """
    where = ((0, 0), (1, 0), (2, base + 1), (3, 8 * offset), (4, 8 * length))  # protocol and field: none
    key = _told(0, 7) + _user_data(1, b"".join(_told(kind, number) for kind, number in where))
    big_endian = _told(0, 2)
    return big_endian + _user_data(3, key) + _user_data(4, _told(0, 1) + _user_data(1, b""))


def _user_data(kind: int, value: bytes) -> bytes:
    return bytes((kind, len(value))) + value


def _told(kind: int, number: int) -> bytes:
    return _user_data(kind, struct.pack("=I", number))


def _set(table_name: str, name: str, identifier: int, key: tuple[int, int], flags: int, *more: bytes) -> Message:
    parts = (text(1, table_name), text(2, name), be32(3, flags), be32(4, key[0]), be32(5, key[1]), be32(10, identifier))
    return request(NEW_SET, *parts, *more, flags=CREATE)


def add_elements(table_name: str, name: str, elements: Sequence[Element]) -> Iterator[Message]:
    """Add elements; one that already exists stays as it is."""
    yield from _element_messages(NEW_ELEMENT, table_name, name, elements, CREATE)


def delete_elements(table_name: str, name: str, elements: Sequence[Element]) -> Iterator[Message]:
    """Delete elements; one that is missing fails the transaction."""
    yield from _element_messages(DELETE_ELEMENT, table_name, name, elements, 0)


def add_timed(table_name: str, name: str, key: bytes, timeout_ms: int) -> Message:
    """Add an element that the kernel removes by itself."""
    if timeout_ms < 1:
        raise ValueError("a timeout of 0 means forever")
    element = nest(1, nest(1, attribute(1, key)), be64(4, timeout_ms))
    return request(NEW_ELEMENT, text(1, table_name), text(2, name), nest(3, element), flags=CREATE)


def flush(table_name: str, name: str) -> Message:
    """Delete every element of a set, if there are any."""
    return request(DELETE_ELEMENT, text(1, table_name), text(2, name))


def _element_messages(
    message: int, table_name: str, name: str, elements: Sequence[Element], flags: int
) -> Iterator[Message]:
    for start in range(0, len(elements), _ELEMENTS_PER_MESSAGE):
        packed = (_element(key, value) for key, value in elements[start : start + _ELEMENTS_PER_MESSAGE])
        yield request(message, text(1, table_name), text(2, name), nest(3, *packed), flags=flags)


def _element(key: bytes, chain_name: str | None) -> bytes:
    parts = [nest(1, attribute(1, key))]
    if chain_name is not None:
        parts.append(nest(2, nest(2, be32(1, GOTO), text(2, chain_name))))
    return nest(1, *parts)


# --- expressions -------------------------------------------------------------------------------------------------


def _expression(name: str, *parts: bytes) -> bytes:
    return nest(1, text(1, name), nest(2, *parts))


def meta(key: int, register: int = 1) -> bytes:
    """Load metadata of the packet."""
    return _expression("meta", be32(1, register), be32(2, key))


def masked(mask: bytes, flip: bytes, register: int = 1) -> bytes:
    """Keep the bits of `mask`, then flip those of `flip`."""
    values = (nest(4, attribute(1, mask)), nest(5, attribute(1, flip)))
    return _expression("bitwise", be32(1, register), be32(2, register), be32(3, len(mask)), *values)


def equal(value: bytes, register: int = 1) -> bytes:
    """Continue only if the register holds this value."""
    return _expression("cmp", be32(1, register), be32(2, 0), nest(3, attribute(1, value)))


def payload(base: int, offset: int, length: int, register: int = 1) -> bytes:
    """Load bytes of the packet."""
    return _expression("payload", be32(1, register), be32(2, base), be32(3, offset), be32(4, length))


def constant(value: bytes, register: int = 1) -> bytes:
    """Load four bytes that are the same for every packet, in a form that nft can read back: `meta mark & V | V`."""
    return meta(META_MARK, register) + masked(bytes(4), value, register)


def member(name: str, register: int = 1) -> bytes:
    """Continue only if the register's value is in the set."""
    return _expression("lookup", text(1, name), be32(2, register))


def dispatch(name: str, register: int = 1) -> bytes:
    """Continue in the chain that the verdict map has for the register's value, if it has one."""
    return _expression("lookup", text(1, name), be32(2, register), be32(3, 0))


def verdict(code: int, chain_name: str | None = None) -> bytes:
    """Accept, drop, or continue in another chain."""
    parts = [be32(1, code)]
    if chain_name is not None:
        parts.append(text(2, chain_name))
    return _expression("immediate", be32(1, 0), nest(2, nest(2, *parts)))


def delete_table(name: str) -> Message:
    """Delete a table and its contents."""
    return request(DELETE_TABLE, text(1, name))


def delete_chain(table_name: str, name: str) -> list[Message]:
    """Delete a chain and its rules."""
    return [
        request(DELETE_RULE, text(1, table_name), text(2, name)),
        request(DELETE_CHAIN, text(1, table_name), text(3, name)),
    ]
