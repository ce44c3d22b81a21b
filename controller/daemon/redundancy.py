"""Finds out who could take over, who has left, and whether this node is cut off from the store: for `anyvip status`."""

from __future__ import annotations

from collections.abc import Iterator

from controller.api.status import LeftMember
from controller.core.election import fit_sessions
from controller.core.group import Role
from controller.core.records import GROUPS, SESSIONS, Ownership, Session, SessionId
from controller.core.state import State

REMEMBERED_FOR = 24 * 3600.0  # seconds for which a member that left is shown


def is_silent(state: State, since: float, now: float, lease: float) -> bool | None:
    """Returns whether a session that changed last at `since` is silent, or None if this node cannot tell.

    A node that is cut off has seen nothing lately. What was not silent at its last contact is not known to be silent.
    """
    if now - since < lease:
        return False
    return True if state.store.answered_at - since >= lease else None


def find_owner(state: State, group: str, now: float, lease: float) -> str | None:
    """Returns the node that owns the group, or None if nobody does, or if this node no longer knows.

    After its grant has ended, this node does not call itself the owner: another one may be. After a lease without an
    answer from the store, it does not know about others, either.
    """
    seen = state.store.sightings.get(GROUPS + group)
    record = seen.record if seen is not None else None
    if not isinstance(record, Ownership) or record.session is None:
        return None
    if record.session == state.session.id:
        ends = state.groups[group].right.expires_at if group in state.groups else None
        return record.node if ends is not None and ends > now else None
    return record.node if now - state.store.answered_at < lease else None


def is_served(state: State, group: str, now: float, lease: float) -> bool | None:
    """Returns whether a node serves the group, or None if this node cannot tell."""
    seen, own = state.store.sightings.get(GROUPS + group), state.groups.get(group)
    if own is not None and own.role is Role.ACTIVE and own.right.expires_at is not None and own.right.expires_at > now:
        return True
    if now - state.store.answered_at >= lease:
        return None
    record = seen.record if seen is not None else None
    if not isinstance(record, Ownership) or record.session is None or record.session == state.session.id:
        return False
    owner = state.store.sightings.get(SESSIONS + record.session)
    if owner is None or not isinstance(owner.record, Session) or owner.record.fenced or now - owner.since >= lease:
        return False
    member = owner.record.groups.get(group)
    return member is not None and member.serving == record.epoch


def find_standbys(state: State, group: str, now: float, lease: float) -> list[str]:
    """Returns the nodes that could take the group over from its owner now."""
    owner = state.ownership(group)[0]
    holder = owner.session if owner is not None else None
    return sorted(
        record.node for sid, record, _ in fit_sessions(group, state.store.sightings, now, lease) if sid != holder
    )


def explain_unfit(state: State, group: str, now: float, lease: float) -> dict[str, str]:
    """Returns why each other member could not take the group over."""
    owner = state.ownership(group)[0]
    holder, fit = owner.session if owner is not None else None, find_standbys(state, group, now, lease)
    reasons = {left["node"]: _describe_end(left) for left in list_left(state, now)}
    for sid, record, since in _list_sessions(state):
        if sid != holder and record.node not in fit:
            reasons[record.node] = _explain(state, record, group, is_silent(state, since, now, lease), now - since)
    return dict(sorted(reasons.items()))


def _list_sessions(state: State) -> Iterator[tuple[SessionId, Session, float]]:
    for key, seen in state.store.sightings.items():
        if isinstance(seen.record, Session) and not seen.record.fenced:
            yield SessionId(key.removeprefix(SESSIONS)), seen.record, seen.since


def _explain(state: State, record: Session, group: str, silent: bool | None, seconds: float) -> str:
    member = record.groups.get(group)
    if silent is None:
        return "not known: this node is cut off"
    if silent:
        return f"silent for {seconds:.1f} s"
    if member is None:
        return "does not have this group in its configuration"
    if member.priority == 0:
        return "priority 0: never active"
    if not record.campaigning:
        return "another live node has its name, or it has just started"
    if not member.healthy:
        return f"unhealthy: {member.why}" if member.why else "unhealthy, or not checked yet"
    return "paused" if state.paused else "not fit"


def list_left(state: State, now: float) -> list[LeftMember]:
    """Returns the nodes that have left within the last day and are not back, the latest first."""
    here = {record.node for _, record, _ in _list_sessions(state)}
    wall = now + state.life.wall_offset
    left: dict[str, LeftMember] = {}
    for key, seen in state.store.sightings.items():
        record = seen.record
        if not isinstance(record, Session) or not record.fenced or record.ended is None or record.node in here | {""}:
            continue
        ended = record.ended
        if wall - ended.at < REMEMBERED_FOR and ended.at > left.get(record.node, {"at": 0.0})["at"]:
            session = key.removeprefix(SESSIONS)
            left[record.node] = LeftMember(
                node=record.node, session=session, at=ended.at, why=ended.why, by=ended.by,
                silent_since=ended.since or None,
            )  # fmt: skip
    return sorted(left.values(), key=lambda one: -one["at"])


def _describe_end(left: LeftMember) -> str:
    if left["why"] == "left":
        return "left in order"
    return f"gone: fenced by {left['by']}"
