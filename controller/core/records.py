"""The records that the store holds, and their encoding. Pure.

There are two kinds, so that the cost of staying alive grows with the number of nodes, not with the number of VIPs:

- ``sessions/<id>``: one per running daemon, rewritten with ``beat + 1`` every ``retry_period``. It proves that the
  node is alive. It also carries the node's health and priority for each group, so the sessions are the membership list.
- ``groups/<name>``: names the session that owns the group. Written only when ownership changes or is asked for.

A third record, ``cluster``, holds what an operator decided for all nodes: `Cluster.paused`.

All time is the local CLOCK_BOOTTIME in float seconds. No node decides by a timestamp of another node. The Unix times in
`Change` and `Ending` are for people to read.
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
    why: str = ""  # what made it unhealthy, for people to read


@dataclass(frozen=True, slots=True)
class Ending:
    """How a session ended, as told by the node that fenced it. For people to read: no node decides by it.

    Times are Unix seconds on the clock of the node `by`.
    """

    by: str = ""
    why: str = ""  # left, silent, missing, earlier-life or collected
    at: float = 0.0
    since: float = 0.0  # since when `by` had seen no sign of life; 0: not silent


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
    ended: Ending | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A planned switchover that was asked for. It is void once the group has another epoch."""

    to: str | None  # a node's name; None: the next in rank
    epoch: int
    by: str = ""  # who asked, for people to read


@dataclass(frozen=True, slots=True)
class Change:
    """How the group came to its present owner, or to none. For people to read: no node decides by it.

    The write that changes the owner carries it. Times are Unix seconds, each on the clock of one node.
    """

    was: str = ""  # the node that owned the group before; empty: none that is known
    why: str = ""  # why that ended (a `Reason`)
    detail: str = ""
    asked_by: str = ""
    since: float = 0.0  # since when nobody served, on the clock of `told_by`
    told_by: str = ""  # the node that saw that
    shut: float = 0.0  # when `was` had shut its guard, on its clock
    taken_as: str = ""  # how the owner came to it (a `Reason`)
    taken: float = 0.0  # when, on the owner's clock
    served: float = 0.0  # since when the owner serves, on its clock
    gap: float = 0.0  # for how many seconds at most nobody had served then, on the owner's clock
    stages: Mapping[str, float] = field(default_factory=dict)  # the seconds that each step of both nodes took


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
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """``cluster``: what holds for all nodes."""

    paused: bool = False
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


_PROSE: Mapping[str, type] = {"Change | None": Change, "Ending | None": Ending}


def _make_plain(record: object) -> Any:
    if isinstance(record, Mapping):
        return {name: _make_plain(value) for name, value in record.items()}
    if is_dataclass(record) and not isinstance(record, type):
        plain = {f.name: _make_plain(getattr(record, f.name)) for f in fields(record)}
        return {name: value for name, value in plain.items() if not _is_left_out(record, name, value)}
    return record


def _is_left_out(record: object, name: str, value: Any) -> bool:
    """Returns whether the field is only for people, and empty. Every listing reads the records, so its bytes count."""
    if name in ("change", "ended"):
        return value is None
    return not value and (isinstance(record, Change | Ending) or name in ("why", "by"))


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
    if annotation in _PROSE:
        return _read_prose(value, _PROSE[annotation], path)
    if annotation == "Mapping[str, float]":
        if not isinstance(value, dict):
            raise BadRecord(f"{path}: {value!r} is not an object")
        return {name: _check_field(inner, "float", f"{path}.{name}") for name, inner in value.items()}
    expected, nullable = _CHECKS[annotation]
    if value is None and nullable:
        return None
    if type(value) is not expected:  # bool is an int to isinstance
        raise BadRecord(f"{path}: {value!r} is not of type {annotation}")
    if isinstance(value, float) and not isfinite(value):
        raise BadRecord(f"{path}: {value!r} is not a number")
    return value


def _read_prose(value: Any, kind: type[Any], path: str) -> Any:
    """Returns what is only for people, or None if it cannot be read: it must not spoil the record that it is in."""
    try:
        return None if value is None else _check_type(value, kind, path)
    except BadRecord:
        return None
