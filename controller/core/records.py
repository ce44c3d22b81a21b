"""The records that the store holds, and their encoding. Pure.

There are two kinds, so that the cost of staying alive grows with the number of nodes, not with the number of VIPs:

- ``sessions/<id>``: one per running daemon, rewritten with ``beat + 1`` every ``retry_period``. It proves that the
  node is alive. It also carries the node's health and priority for each group, so the sessions are the membership list.
- ``groups/<name>``: names the session that owns the group. Written only when ownership changes or is asked for.

A third record, ``cluster``, holds what an operator decided for all nodes: `Cluster.paused`.

All time is the local CLOCK_BOOTTIME in float seconds. No timestamp ever crosses from one node to another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from math import isfinite
from typing import Any, NewType, TypeVar

from controller.core.values import replace
from health.errors import AnyvipError

SESSIONS = "sessions/"
GROUPS = "groups/"
CLUSTER = "cluster"
FORMAT = 1

SessionId = NewType("SessionId", str)


class BadRecord(AnyvipError, ValueError):  # noqa: N818  (a fact about the store's content)
    """A value that this version of anyvip cannot read; the message says what was found."""


@dataclass(frozen=True, slots=True)
class Membership:
    """What one session reports about itself for one group."""

    priority: int = 100
    healthy: bool = False
    serving: int = 0  # the epoch that it serves, or 0 when it does not serve


@dataclass(frozen=True, slots=True)
class Session:
    """``sessions/<id>``: a node's proof of life. A session that is `fenced` stays fenced."""

    node: str
    beat: int = 0
    fenced: bool = False
    campaigning: bool = True  # False: another live session has this node name
    lease_duration: float = 0.0  # as this node is configured, in seconds; its watchers wait as long
    groups: Mapping[str, Membership] = field(default_factory=dict)
    seq: int = 0
    writer: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A planned switchover that was asked for. It is void once the group has another epoch."""

    to: str | None  # a node's name; None: the next in rank
    epoch: int


@dataclass(frozen=True, slots=True)
class Ownership:
    """``groups/<name>``: who owns the group. `epoch` is the fencing token.

    `after` is the version that the handover to this owner replaced. A record starts as `new` and names no owner: the
    owner that a deleted record named might still serve for a while.
    """

    session: SessionId | None = None
    node: str | None = None
    epoch: int = 0
    offered_to: SessionId | None = None
    wanted: Wanted | None = None
    after: str | None = None
    new: bool = False
    seq: int = 0
    writer: str = ""


@dataclass(frozen=True, slots=True)
class Cluster:
    """``cluster``: what holds for all nodes.

    A pause has an `id` of its own and ends after `lasts` seconds (0: when somebody resumes). Each node counts them from
    when it first saw the pause. `by`, `node`, `why` and `at` (Unix time, seconds) are for people to read: nothing is
    decided by them.
    """

    paused: bool = False
    id: str = ""
    lasts: float = 0.0
    by: str = ""
    node: str = ""
    why: str = ""
    at: int = 0
    seq: int = 0
    writer: str = ""


Record = Session | Ownership | Cluster
R = TypeVar("R", Session, Ownership, Cluster)


def next_record(record: R, writer: str, **changes: Any) -> R:
    """Returns the record that follows this one. By `seq` and `writer`, no two writes ever carry the same bytes."""
    return replace(record, seq=record.seq + 1, writer=writer, **changes)


def encode(record: Record) -> bytes:
    """Returns the record as canonical JSON."""
    body = {"format": FORMAT, "kind": _KIND[type(record)], **_make_plain(record)}
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def decode(value: bytes, kind: type[R]) -> R:
    """Returns the record that the bytes hold. Raises BadRecord, which says what they hold if it is not of this kind."""
    try:
        body = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"not JSON: {value[:60]!r}") from error
    if not isinstance(body, dict):
        raise BadRecord(f"not a JSON object: {value[:60]!r}")
    if body.get("format") != FORMAT:
        raise BadRecord(f"format {body.get('format')!r}, this version reads format {FORMAT}")
    if body.get("kind") != _KIND[kind]:
        raise BadRecord(f"a {body.get('kind')!r} record where a {_KIND[kind]!r} record belongs")
    record: R = _check_type(body, kind, "")
    return record


_KIND: Mapping[type, str] = {Session: "session", Ownership: "group", Cluster: "cluster"}
_CHECKS: Mapping[str, tuple[type, bool]] = {  # annotation -> (type, may be null)
    "float": (float, False),
    "int": (int, False),
    "bool": (bool, False),
    "str": (str, False),
    "str | None": (str, True),
    "SessionId | None": (str, True),
}


def _make_plain(record: object) -> Any:
    if isinstance(record, Mapping):
        return {name: _make_plain(value) for name, value in record.items()}
    if is_dataclass(record) and not isinstance(record, type):
        return {f.name: _make_plain(getattr(record, f.name)) for f in fields(record)}
    return record


def _check_type(body: Any, kind: type[Any], path: str) -> Any:
    """Returns `body` as a `kind`, every field checked. Unknown fields are ignored; missing ones take their default."""
    if not isinstance(body, dict):
        raise BadRecord(f"{path}: {body!r} is not an object")
    given: dict[str, Any] = {}
    for f in fields(kind):
        if f.name in body:
            given[f.name] = _check_field(body[f.name], str(f.type), f"{path}.{f.name}".lstrip("."))
    try:
        return kind(**given)
    except TypeError as error:
        raise BadRecord(f"{path or 'record'}: {error}") from error


def _check_field(value: Any, annotation: str, path: str) -> Any:
    if annotation == "Mapping[str, Membership]":
        if not isinstance(value, dict):
            raise BadRecord(f"{path}: {value!r} is not an object")
        return {name: _check_type(inner, Membership, f"{path}.{name}") for name, inner in value.items()}
    if annotation == "Wanted | None":
        return None if value is None else _check_type(value, Wanted, path)
    expected, nullable = _CHECKS[annotation]
    if value is None and nullable:
        return None
    if type(value) is not expected:  # bool is an int to isinstance
        raise BadRecord(f"{path}: {value!r} is not of type {annotation}")
    if isinstance(value, float) and not isfinite(value):
        raise BadRecord(f"{path}: {value!r} is not a number")
    return value
