"""What the store holds, and what a node makes of it. Pure.

Two kinds of record, so that the cost of living grows with nodes and not with VIPs:

- ``sessions/<id>``: one per running daemon, rewritten with ``beat + 1`` every ``retry_period``. It proves that a
  node lives, and carries each group's health and priority, so it is the membership list, too.
- ``groups/<name>``: names the session that owns the group. Written only when ownership changes.

``cluster`` holds what an operator decided for all: `Cluster.paused`.

All time is the local CLOCK_BOOTTIME in float seconds. No timestamp ever crosses from one node to another.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from math import isfinite
from typing import Any, NewType, Protocol, TypeVar

from controller.values import replace

SESSIONS = "sessions/"
GROUPS = "groups/"
CLUSTER = "cluster"
FORMAT = 1
ROUNDS_PER_GRANT = 4  # renewals are sent this often in the time that one of them gives

Version = NewType("Version", str)
SessionId = NewType("SessionId", str)


# --- the store ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One value in the store, with the version that a `Store.swap` must name to replace it."""

    value: bytes
    version: Version


class StoreError(Exception):
    """The store did not answer, or not intelligibly. A write may have landed, may land later, or never."""


class Conflict(Exception):  # noqa: N818  (an answer, not a failure: the write is known not to have landed)
    """The key is not at the expected version; nothing was written by this request."""


class Store(Protocol):
    """A compare-and-swap register per key. Linearizable; nothing else is asked of it."""

    async def read(self, prefix: str) -> Mapping[str, Entry]:
        """Every key that begins with prefix, each as of some moment after the call. Raises StoreError."""

    async def swap(self, key: str, value: bytes | None, expected: Version | None) -> Version:
        """Replace the value if the key is still at `expected`.

        A value of None deletes; `expected` of None creates. Raises Conflict, or StoreError where the outcome
        is not known. Never retries by itself: a retry turns a write that landed into a Conflict.
        """

    async def close(self) -> None:
        """Give back connections and descriptors. Raises nothing."""


class Watcher(Protocol):
    """A store that can say "look now". A hint, never a fact: the election is right without it, only slower."""

    def changes(self, prefix: str) -> AsyncIterator[Mapping[str, Entry]]:
        """Yield after anything under prefix may have changed, with what is known of it: some keys, or none.

        What is yielded may be old by then, or repeated; a key that is gone is left out. Reconnects by itself; ends only
        when closed.
        """


# --- records -----------------------------------------------------------------------------------------------------


class BadRecord(ValueError):  # noqa: N818  (a fact about the store's content)
    """A value that this version of anyvip cannot read; the message says what was found."""


@dataclass(frozen=True, slots=True)
class Membership:
    """What one session says of itself in one group."""

    priority: int = 100
    healthy: bool = False
    serving: int = 0  # the epoch it serves, 0 when it does not


@dataclass(frozen=True, slots=True)
class Session:
    """``sessions/<id>``: a node's proof of life. Once `fenced`, for ever fenced."""

    node: str
    beat: int = 0
    fenced: bool = False
    campaigning: bool = True  # False: another live session has this node name
    lease_duration: float = 0.0  # what this node is configured with, in seconds: who watches it waits as long
    groups: Mapping[str, Membership] = field(default_factory=dict)
    seq: int = 0
    writer: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A planned switchover somebody asked for. Means nothing once the group's epoch is another."""

    to: str | None  # a node's name; None: whoever is next
    epoch: int


@dataclass(frozen=True, slots=True)
class Ownership:
    """``groups/<name>``: who owns the group. `epoch` is the fencing token.

    `after` is the version on which the handover to this owner was written. A record begins as `new`, naming nobody: the
    owner by a record that was there before, and was deleted, may serve for a while yet.
    `from_session` and `go` are reserved for handing over ahead of time; today they are carried along and a
    `from_session` that is set is respected (nobody takes a group from under a session that may still serve).
    """

    session: SessionId | None = None
    node: str | None = None
    epoch: int = 0
    offered_to: SessionId | None = None
    wanted: Wanted | None = None
    after: str | None = None
    new: bool = False
    from_session: SessionId | None = None
    go: str | None = None
    seq: int = 0
    writer: str = ""


@dataclass(frozen=True, slots=True)
class Cluster:
    """``cluster``: what holds for all nodes."""

    paused: bool = False
    seq: int = 0
    writer: str = ""


Record = Session | Ownership | Cluster
R = TypeVar("R", Session, Ownership, Cluster)


def next_record(record: R, writer: str, **changes: Any) -> R:
    """The record that follows this one: no two writes ever carry the same bytes (`seq` and `writer`)."""
    return replace(record, seq=record.seq + 1, writer=writer, **changes)


def encode(record: Record) -> bytes:
    """The record as canonical JSON."""
    body = {"format": FORMAT, "kind": _KIND[type(record)], **_plain(record)}
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def decode(value: bytes, kind: type[R]) -> R:
    """The record of this kind that the bytes hold. Raises BadRecord, which says what they hold instead."""
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
    record: R = _typed(body, kind, "")
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


def _plain(record: object) -> Any:
    if isinstance(record, Mapping):
        return {name: _plain(value) for name, value in record.items()}
    if is_dataclass(record) and not isinstance(record, type):
        return {f.name: _plain(getattr(record, f.name)) for f in fields(record)}
    return record


def _typed(body: Any, kind: type[Any], path: str) -> Any:
    """`body` as a `kind`, every field checked; unknown fields are ignored, missing ones take their default."""
    if not isinstance(body, dict):
        raise BadRecord(f"{path}: {body!r} is not an object")
    given: dict[str, Any] = {}
    for f in fields(kind):
        if f.name in body:
            given[f.name] = _field(body[f.name], str(f.type), f"{path}.{f.name}".lstrip("."))
    try:
        return kind(**given)
    except TypeError as error:
        raise BadRecord(f"{path or 'record'}: {error}") from error


def _field(value: Any, annotation: str, path: str) -> Any:
    if annotation == "Mapping[str, Membership]":
        if not isinstance(value, dict):
            raise BadRecord(f"{path}: {value!r} is not an object")
        return {name: _typed(inner, Membership, f"{path}.{name}") for name, inner in value.items()}
    if annotation == "Wanted | None":
        return None if value is None else _typed(value, Wanted, path)
    expected, nullable = _CHECKS[annotation]
    if value is None and nullable:
        return None
    if type(value) is not expected:  # bool is an int to isinstance
        raise BadRecord(f"{path}: {value!r} is not of type {annotation}")
    if isinstance(value, float) and not isfinite(value):
        raise BadRecord(f"{path}: {value!r} is not a number")
    return value


# --- time --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Timing:
    """The lease's durations in seconds, `drift` as a ratio. Same on all nodes of a cluster.

    - `lease_duration`: how long a standby must watch a session stay the same before it may fence it.
    - `renew_deadline`: how long after a renewal was *sent* its node may serve.
    - `retry_period`: pause between renewals.
    - `drift`: how far the rate of a clock may be off. NTP slews by up to 0.0005, chrony by more.
    - `overshoot`: how late the kernel may end an address: 0.05 for the guard, 1.0 for valid_lft alone.
    """

    lease_duration: float
    renew_deadline: float
    retry_period: float
    drift: float = 0.01
    overshoot: float = 0.05

    @classmethod
    def derive(cls, lease_duration: float, *, drift: float = 0.01, overshoot: float = 0.05) -> Timing:
        """Seven tenths of the lease to serve on one renewal, and a renewal each quarter of that.

        So a daemon that dies has over half a lease to be back and adopt, and what is left of the lease beyond the
        seven tenths, less drift and overshoot, is what a virtual machine may be stopped for unseen.
        """
        longest = longest_renew_deadline(lease_duration, drift, overshoot)
        renew_deadline = min(lease_duration * 0.7, longest)
        return cls(lease_duration, renew_deadline, renew_deadline / ROUNDS_PER_GRANT, drift, overshoot)

    def problems(self) -> list[str]:
        """Every relation that cannot be safe or cannot work, by the names the configuration uses."""
        found = []
        longest = longest_renew_deadline(self.lease_duration, self.drift, self.overshoot)
        if self.renew_deadline > longest:
            found.append(
                f"renew_deadline_seconds {self.renew_deadline:g} is too long for duration_seconds "
                f"{self.lease_duration:g}: at most {longest:.3f} "
                f"(clock drift {self.drift:g}, kernel overshoot {self.overshoot:g} s)",
            )
        if not 0 < self.retry_period < self.renew_deadline / 2:
            found.append(
                f"retry_period_seconds {self.retry_period:g} must be above 0 and below half of "
                f"renew_deadline_seconds {self.renew_deadline:g}",
            )
        return found

    @property
    def call_timeout(self) -> float:
        """How long one store call may take, so that a second one fits before the grant ends."""
        return max((self.renew_deadline - self.retry_period) / 2, self.retry_period / 2)


def longest_renew_deadline(lease_duration: float, drift: float, overshoot: float) -> float:
    """The most that renew_deadline may be: lease >= (deadline / (1 - drift) + overshoot) * (1 + drift)."""
    return (lease_duration / (1 + drift) - overshoot) * (1 - drift)
