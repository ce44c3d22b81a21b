"""Decides which node is allowed to take a group, and when: the two-record protocol as pure functions.

A standby judges a session by how long the standby itself has seen its version and bytes unchanged. It must fence an
expired session by compare-and-swap before it can take the session's group. That a group has an owner is not guaranteed.

The rules that exclusion rests on are in `controller.core.rules`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from controller.core.records import (
    CLUSTER,
    GROUPS,
    SESSIONS,
    BadRecord,
    Cluster,
    Membership,
    Ownership,
    Record,
    Session,
    SessionId,
    Stake,
    decode,
)
from controller.core.rules import Rules
from controller.core.timing import Timing
from controller.stores.base import Entry, Version


@dataclass(frozen=True, slots=True)
class Sighting:
    """A record, and since when this node has seen this version of it. `version` is None when the key is absent.

    `there_at` is when a request was sent whose answer showed this version, or the version that a handover replaced.
    `handed` is True when this life saw the group's record name another session, or none, before the current one.
    """

    since: float
    seen_at: float
    version: Version | None = None
    value: bytes = b""
    record: Record | None = None
    problem: str = ""  # why the record cannot be read
    there_at: float = -inf
    handed: bool = False


def sight(  # noqa: PLR0913  (what was known, what was answered, and when, each given by name)
    old: Sighting | None, key: str, entry: Entry | None, *, sent_at: float, now: float, forget_after: float
) -> Sighting:
    """Returns what is known of a key after an answer. A sighting older than `forget_after` seconds starts anew."""
    version, value = (entry.version, entry.value) if entry else (None, b"")
    if old is not None and (old.version, old.value) == (version, value):
        since = old.since if now - old.seen_at <= forget_after else now
        return Sighting(since, now, version, value, old.record, old.problem, sent_at, old.handed)
    if entry is None:
        return Sighting(now, now)
    try:
        record = _decode(key, value)
    except BadRecord as problem:
        return Sighting(now, now, version, value, None, str(problem))
    return Sighting(now, now, version, value, record, there_at=sent_at, handed=_was_handed(old, record))


def _was_handed(old: Sighting | None, record: Record) -> bool:
    if old is None or not isinstance(old.record, Ownership) or not isinstance(record, Ownership):
        return False
    return old.handed or record.session != old.record.session


def _decode(key: str, value: bytes) -> Record:
    if key.startswith(SESSIONS):
        return decode(value, Session)
    if key.startswith(GROUPS):
        return decode(value, Ownership)
    if key != CLUSTER:
        raise BadRecord("not a key that this version of anyvip knows")
    return decode(value, Cluster)


class Verdict(StrEnum):
    """What a standby should do about a group."""

    WAIT = "wait"
    FENCE = "fence"
    TAKE = "take"
    BEGIN = "begin"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict. For FENCE, `key` is the session's key. `at` is when time alone could change the verdict."""

    verdict: Verdict
    why: str
    key: str = ""
    at: float | None = None


@dataclass(frozen=True, slots=True)
class View:
    """The facts that a judgement rests on."""

    me: SessionId
    writer: str
    past: frozenset[SessionId]
    sightings: Mapping[str, Sighting]
    now: float
    answered_at: float  # when the last listing arrived; sessions that were silent by then are not waited for
    timing: Timing
    rules: Rules
    priority: int
    node: str


def judge(group: str, view: View) -> Judgement:
    """Decides whether this node takes the group, creates its record, fences its owner first, or waits (until when)."""
    seen = view.sightings.get(GROUPS + group)
    if seen is None:
        return Judgement(Verdict.WAIT, "not-seen")
    if seen.problem:
        return Judgement(Verdict.WAIT, "bad-record")
    turn = view.timing.retry_period * rank(group, seen, view)
    if not isinstance(seen.record, Ownership):
        return _judge_missing(seen, turn, view)
    owner = seen.record
    if owner.session is None:
        return _judge_free(owner, seen.since, turn, view)
    if owner.session == view.me:
        return Judgement(Verdict.TAKE, "regained")
    return judge_holder(owner.session, turn, view) or Judgement(Verdict.TAKE, "owner-fenced")


def _judge_free(owner: Ownership, since: float, turn: float, view: View) -> Judgement:
    lease = view.timing.lease_duration
    if owner.new:
        ripe = view.rules.new_group_watched(since, view.now - turn, lease)
        return _wait_unless(ripe, Verdict.TAKE, "group-was-free", since + lease + turn)
    if owner.offered_to == view.me:
        return Judgement(Verdict.TAKE, "offered")
    return _wait_unless(view.now >= since + turn, Verdict.TAKE, "group-was-free", since + turn)


def _judge_missing(seen: Sighting, turn: float, view: View) -> Judgement:
    lease = 0.0 if view.rules.begins_unowned() else view.timing.lease_duration
    return _wait_unless(
        view.now >= seen.since + lease + turn, Verdict.BEGIN, "group-was-free", seen.since + lease + turn
    )


def judge_holder(holder: SessionId, turn: float, view: View) -> Judgement | None:
    """Returns what must happen to the owner's session first, or None when it is fenced and it is our turn."""
    key = SESSIONS + holder
    seen = view.sightings.get(key)
    if seen is None:
        return Judgement(Verdict.WAIT, "owner-not-seen")
    lease = view.timing.lease_duration
    if isinstance(seen.record, Session):  # a node serves for as long as its own configured lease allows
        lease = max(lease, seen.record.lease_duration)
    ripe_at = seen.since + lease + turn
    if isinstance(seen.record, Session) and seen.record.fenced:
        own_fence = seen.record.writer == view.writer
        mine_now = own_fence or view.now >= seen.since + turn
        return None if mine_now else Judgement(Verdict.WAIT, "owner-fenced", at=seen.since + turn)
    if holder in view.past:
        return Judgement(Verdict.FENCE, "own-earlier-session", key)
    if seen.version is None:
        ripe = view.rules.missing_watched(seen.since, view.now - turn, lease)
        if ripe and not view.rules.needs_tombstone():
            return None
        return _wait_unless(ripe, Verdict.FENCE, "owner-missing", ripe_at, key)
    ripe = view.rules.watched(seen.since, view.now - turn, lease)
    if ripe and not view.rules.needs_fence():
        return None
    return _wait_unless(ripe, Verdict.FENCE, "owner-unreadable" if seen.problem else "owner-silent", ripe_at, key)


def _wait_unless(ripe: bool, verdict: Verdict, why: str, at: float, key: str = "") -> Judgement:
    return Judgement(verdict, why, key) if ripe else Judgement(Verdict.WAIT, why, key, at)


def rank(group: str, seen: Sighting, view: View) -> int:
    """Returns how many candidates go before us. The one that is offered the group is first; then priority, then name.

    The owner is not a candidate: it seems alive until the very moment at which it can be succeeded. Silence is measured
    at the last listing, so that only news changes the order, never time alone.
    """
    owner = seen.record if isinstance(seen.record, Ownership) else Ownership()
    out = (view.me, owner.session)
    offered = owner.offered_to
    me = (view.me != offered, -view.priority, view.node, view.me)
    others = fit_sessions(group, view.sightings, view.answered_at, view.timing.lease_duration)
    return sum((sid != offered, -m.priority, record.node, sid) < me for sid, record, m in others if sid not in out)


def fit_sessions(
    group: str, sightings: Mapping[str, Sighting], now: float, lease_duration: float
) -> Iterable[tuple[SessionId, Session, Membership]]:
    """Yields the live sessions that are fit to serve the group, by their own account."""
    for sid, record in live_sessions(sightings, now, lease_duration):
        member = record.groups.get(group)
        fit = member is not None and member.healthy and member.priority > 0 and member.stake is Stake.HOLDS
        if record.campaigning and member is not None and fit:
            yield sid, record, member


def live_sessions(
    sightings: Mapping[str, Sighting], now: float, lease_duration: float
) -> Iterable[tuple[SessionId, Session]]:
    """Yields the sessions that are not fenced and whose record has changed within the lease."""
    for key, seen in sightings.items():
        record = seen.record
        if isinstance(record, Session) and not record.fenced and now - seen.since < lease_duration:
            yield SessionId(key.removeprefix(SESSIONS)), record
