"""Parsers of nf_tables listings: the answers to the requests of `providers.linux.nftables`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from providers.linux.attributes import attributes, string
from providers.linux.netlink import Message


@dataclass(frozen=True, slots=True)
class ListedChain:
    """A chain as the kernel lists it. `hook` is None for a chain that others jump to."""

    name: str
    hook: int | None = None
    interfaces: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ListedElement:
    """An element as the kernel lists it: the chain it leads to, or the milliseconds that it has left."""

    key: bytes
    chain: str | None = None
    left_ms: int | None = None


def table_of(message: Message) -> str:
    """Return the name of the table that a listed chain, rule or set belongs to, or of a listed table itself."""
    return string(_fields(message).get(1, b""))


def listed_table(message: Message) -> tuple[int, str]:
    """Return a table's flags and comment."""
    found = _fields(message)
    return _number(found.get(2, b"")), _note(found.get(6, b""))


def listed_chain(message: Message) -> ListedChain:
    """Parse a chain from an answer to `GET_CHAIN`."""
    found = _fields(message)
    name = string(found.get(3, b""))
    if 4 not in found:
        return ListedChain(name)
    hook = dict(attributes(found[4]))
    devices = [hook[3]] if 3 in hook else [device for _, device in attributes(hook.get(4, b""))]
    return ListedChain(name, _number(hook.get(1, b"")), frozenset(map(string, devices)))


def listed_rule(message: Message) -> tuple[str, str]:
    """Return a rule's chain and comment."""
    found = _fields(message)
    return string(found.get(2, b"")), _note(found.get(7, b""))


def listed_set(message: Message) -> str:
    """Return a set's name."""
    return string(_fields(message).get(2, b""))


def listed_elements(messages: Iterable[Message]) -> Iterator[ListedElement]:
    """Yield the elements in the answers to `GET_ELEMENT`."""
    for message in messages:
        for _, element in attributes(_fields(message).get(3, b"")):
            found = dict(attributes(element))
            verdict_found = dict(attributes(dict(attributes(found.get(2, b""))).get(2, b"")))
            yield ListedElement(
                key=dict(attributes(found.get(1, b""))).get(1, b""),
                chain=string(verdict_found[2]) if 2 in verdict_found else None,
                left_ms=_number(found[5]) if 5 in found else None,
            )


def _fields(message: Message) -> dict[int, bytes]:
    return dict(attributes(message.body, 4))


def _number(value: bytes) -> int:
    return int.from_bytes(value, "big")


def _note(user_data: bytes) -> str:
    if len(user_data) < 2 or user_data[0] != 0:
        return ""
    return string(user_data[2 : 2 + user_data[1]])
