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
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, NewType, TypeVar

from controller.core.bounds import DEEPEST, LARGEST_RECORD, find_problem, parse, show, show_name, too_deep
from controller.core.timing import LONGEST_LEASE
from controller.core.values import replace
from health.errors import AnyvipError

SESSIONS = "sessions/"
GROUPS = "groups/"
CLUSTER = "cluster"
FORMAT = 1

SessionId = NewType("SessionId", str)


class BadRecord(AnyvipError, ValueError):  # noqa: N818  (a fact about the store's content)
    """A value that this version of anyvip cannot read; the message says what was found."""


class Stake(StrEnum):
    """How far a session is with its claim on what a group moves (see `controller.core.claims`)."""

    HOLDS = "holds"  # it claims it, and found no other claim: it can serve
    ASKS = "asks"  # it claims it, and has not looked yet
    WAITS = "waits"  # it claims nothing, because another session does


@dataclass(frozen=True, slots=True)
class Membership:
    """What one session reports about itself for one group.

    `digest` names what it claims. `claims` lists it where another session does not have the same. A version that knew
    no claims says neither.
    """

    priority: int = 100
    healthy: bool = False
    serving: int = 0  # the epoch that it serves, or 0 when it does not serve
    stake: Stake = Stake.HOLDS
    digest: str = ""
    claims: tuple[str, ...] | None = None
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
    version: str = ""  # of anyvip
    config: str = ""  # a digest of the keys that are meant to be equal on all nodes
    facts: Mapping[str, Mapping[str, str]] | None = None  # these keys, where another session's digest differs
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
    """Returns the record that the bytes hold, within the limits of `controller.core.bounds`.

    Raises BadRecord, which names the field that is wrong and what is allowed. No other exception is raised.
    """
    if len(value) > LARGEST_RECORD:
        raise BadRecord(f"{len(value)} bytes, allowed: at most {LARGEST_RECORD}")
    try:
        body = parse(value)
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"not JSON: {value[:60]!r}") from error
    if not isinstance(body, dict):
        raise BadRecord(f"not a JSON object: {value[:60]!r}")
    if body.get("format") != FORMAT:
        raise BadRecord(f"format {show(body.get('format'))}, this version reads format {FORMAT}")
    if body.get("kind") != _KIND[kind]:
        raise BadRecord(f"a {show(body.get('kind'))} record where a {_KIND[kind]!r} record belongs")
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
_LONGEST: Mapping[str, float] = {"lease_duration": LONGEST_LEASE}  # seconds


_PROSE: Mapping[str, type] = {"Change | None": Change, "Ending | None": Ending}


def _make_plain(record: object) -> Any:
    if isinstance(record, Mapping):
        return {name: _make_plain(value) for name, value in record.items()}
    if is_dataclass(record) and not isinstance(record, type):
        values = ((f, getattr(record, f.name)) for f in fields(record))
        return {f.name: _make_plain(value) for f, value in values if not _is_default(f, value)}
    return record


def _is_default(of: Field[Any], value: object) -> bool:
    """Returns whether decoding gives the field this value anyway. Leaving it out halves the records."""
    if of.default is not MISSING:
        return bool(value == of.default)
    return of.default_factory is not MISSING and value == of.default_factory()


def _check_type(body: Any, kind: Any, path: str) -> Any:
    """Returns `body` as a `kind`, every field checked. Unknown fields are ignored; missing ones take their default."""
    if not isinstance(body, dict):
        raise BadRecord(f"{path}: {show(body)} is not an object")
    _check_bounds(body, path)
    known = _list_fields(kind)
    given = {f: _check_field(body[f], annotation, path, f) for f, annotation in known.items() if f in body}
    if len(given) < len(body):  # the rest is of a later version, or garbage
        for other in body.keys() - given.keys():
            if too_deep(body[other]):
                raise BadRecord(f"{_join(path, other)}: nested, allowed: at most {DEEPEST} levels")
    try:
        return kind(**given)
    except TypeError as error:
        raise BadRecord(f"{path or 'record'}: {error}") from error


@cache
def _list_fields(kind: Any) -> Mapping[str, str]:
    """Returns the annotation of each field."""
    return {f.name: str(f.type) for f in fields(kind)}


def _check_field(value: Any, annotation: str, path: str, field_name: str) -> Any:
    """Returns the value as the annotation says. `path` is that of the object that has the field."""
    if annotation in _CHECKS:
        expected, nullable = _CHECKS[annotation]
        return None if value is None and nullable else _check_plain(value, expected, annotation, path, field_name)
    if annotation == "Mapping[str, Membership]":
        return _check_mapping(value, Membership, _join(path, field_name))
    if annotation in _PROSE:
        return _read_prose(value, _PROSE[annotation], _join(path, field_name))
    if annotation in _SPECIAL:
        return _SPECIAL[annotation](value, _join(path, field_name))
    return None if value is None else _check_type(value, Wanted, _join(path, field_name))


def _check_plain(value: Any, expected: type, annotation: str, path: str, field_name: str) -> Any:
    given = value  # mypy narrows `value` below
    if type(value) is not bool and (problem := find_problem(value)):
        raise BadRecord(f"{_join(path, field_name)}: {problem}")
    if type(value) is not expected:  # bool is an int to isinstance
        raise BadRecord(f"{_join(path, field_name)}: {show(value)} is not of type {annotation}")
    if field_name in _LONGEST and not 0 <= given <= _LONGEST[field_name]:
        raise BadRecord(f"{_join(path, field_name)}: {given:g} seconds, allowed: 0 to {_LONGEST[field_name]:g}")
    return given


def _check_mapping(value: Any, kind: type[Any], path: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadRecord(f"{path}: {show(value)} is not an object")
    _check_bounds(value, path)
    for key in value:
        _check_bounds(key, path)
    return {key: _check_type(inner, kind, _join(path, key)) for key, inner in value.items()}


def _check_bounds(value: Any, path: str) -> None:
    if problem := find_problem(value):
        raise BadRecord(f"{path or 'record'}: {problem}")


def _join(path: str, field_name: str) -> str:
    return f"{path}.{show_name(field_name)}" if path else show_name(field_name)


def _check_stake(value: Any, path: str) -> Stake:
    try:
        return Stake(value)
    except ValueError as error:
        raise BadRecord(f"{path}: {show(value)} is none of {', '.join(Stake)}") from error


def _check_facts(value: Any, path: str) -> Mapping[str, Mapping[str, str]]:
    """Returns a mapping of mappings of strings."""
    if not isinstance(value, dict):
        raise BadRecord(f"{path}: {show(value)} is not an object")
    _check_bounds(value, path)
    for name, facts in value.items():
        _check_bounds(name, path)
        if not isinstance(facts, dict) or not all(isinstance(text, str) for text in facts.values()):
            raise BadRecord(f"{_join(path, name)}: {show(facts)} is not a mapping of strings")
        for each in (facts, *facts, *facts.values()):
            _check_bounds(each, path)
    return value


def _check_seconds(value: Any, path: str) -> Mapping[str, float]:
    if not isinstance(value, dict):
        raise BadRecord(f"{path}: {show(value)} is not an object")
    _check_bounds(value, path)
    for name in value:
        _check_bounds(name, path)
    return {name: _check_plain(inner, float, "float", path, name) for name, inner in value.items()}


def _read_prose(value: Any, kind: type[Any], path: str) -> Any:
    """Returns what is only for people, or None if it cannot be read: it must not spoil the record that it is in."""
    try:
        return None if value is None else _check_type(value, kind, path)
    except BadRecord:
        return None


def _check_tokens(value: Any, path: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadRecord(f"{path}: {show(value)} is not a list of strings")
    for each in (value, *value):
        _check_bounds(each, path)
    return tuple(value)


_SPECIAL: Mapping[str, Callable[[Any, str], Any]] = {
    "Stake": _check_stake,
    "Mapping[str, float]": _check_seconds,
    "tuple[str, ...] | None": _check_tokens,
    "Mapping[str, Mapping[str, str]] | None": _check_facts,
}
