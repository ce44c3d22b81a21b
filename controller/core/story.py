"""Tells in the records why groups change their owners and sessions end, for people to read. Part of `decide`.

No decision depends on what is told. The write that changes an owner carries the story. What is known only later (since
when the new owner serves) follows in a write of its own, at most one for each round. An hour later the owner takes the
story out of the record, because every listing reads it; if it has many stories, a minute later. The nodes have it in
their chronicles by then.
"""

from __future__ import annotations

from controller.core.group import GroupState, Leaving, Reason, Role, Tale
from controller.core.records import GROUPS, SESSIONS, Change, Ending, Ownership, Session, next_record
from controller.core.state import Policy, Purpose, State
from controller.core.turn import Turn
from controller.core.values import replace

KEPT_FOR = 3600.0  # seconds for which a record keeps its story
KEPT_SHORTLY = 60.0  # the same where this node serves more groups with a story than `MOST_KEPT`
MOST_KEPT = 10
_LONGEST = 160  # characters of a detail


def find_unix_time(state: State, at: float) -> float:
    """Returns the Unix time of a moment of this node's clock, in seconds. For people to read."""
    return round(at + state.life.wall_offset, 3)


def clip(text: str, longest: int = _LONGEST) -> str:
    """Returns the text on one line of limited length."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 3]}..."


def end_session(state: State, policy: Policy, now: float, why: str, since: float | None = None) -> Ending:
    """Returns how a session ends that this node fences. `since`: when it last gave a sign of life."""
    silent = 0.0 if since is None else find_unix_time(state, since)
    return Ending(policy.node, why, find_unix_time(state, now), silent)


# --- taking and giving up ----------------------------------------------------------------------------------------


def tell_taking(state: State, now: float, policy: Policy, name: str, record: Ownership) -> Change | None:
    """Returns the story of a group that this node takes. A new record has none: nobody had the group before."""
    if record.new:
        return None
    how, taken = state.groups[name].right.taken_as.value, find_unix_time(state, now)
    return replace(_tell_end(state, policy, name, record), taken_as=how, taken=taken, served=0.0, gap=0.0)


def _tell_end(state: State, policy: Policy, name: str, record: Ownership) -> Change:
    """Returns how the last owner lost the group."""
    if record.session is None:
        return record.change or Change(why=Reason.FREE.value)
    if record.session != state.session.id:
        return _tell_fence(state, policy, name, record)
    tale, was = state.groups[name].tale, record.node or ""
    if tale.left is not None and tale.epoch == record.epoch:
        change = Change(was, tale.left.reason.value, clip(tale.left.detail), told_by=policy.node)
        return change if tale.stopped_at is None else replace(change, since=find_unix_time(state, tale.stopped_at))
    handed = record.change is not None and not record.change.taken and not record.change.served
    return record.change if handed and record.change is not None else Change(was, Reason.REGAINED.value)


def _tell_fence(state: State, policy: Policy, name: str, record: Ownership) -> Change:
    seen = state.store.sightings.get(f"{SESSIONS}{record.session}")
    ended = seen.record.ended if seen is not None and isinstance(seen.record, Session) else None
    change = Change(record.node or "", Reason.FAILOVER.value)
    if ended is not None:  # otherwise, an older version of anyvip fenced it
        change = replace(change, detail=ended.why, since=ended.since, told_by=ended.by)
    last = state.store.served.get(name)
    return change if last is None else replace(change, since=find_unix_time(state, last), told_by=policy.node)


def tell_release(state: State, now: float, policy: Policy, name: str, why: Leaving) -> Change:
    """Returns the story of a group that this node gives up. If it never served it, nobody has served since earlier."""
    group = state.groups[name]
    record, _ = state.ownership(name)
    tale, before = group.tale, record.change if record is not None else None
    since, told_by = (0.0, "") if before is None or before.served else (before.since, before.told_by)
    if tale.stopped_at is not None:
        since, told_by = find_unix_time(state, tale.stopped_at), policy.node
    return Change(
        policy.node, why.reason.value, clip(why.detail), clip(tale.asked_by), since=since, told_by=told_by,
        shut=find_unix_time(state, now), stages=_round_all(group),
    )  # fmt: skip


def explain_giving_back(turn: Turn, name: str) -> Leaving:
    """Returns why this node gives back a group that is at rest here."""
    group, own = turn.groups[name], turn.policy.groups.get(name)
    if turn.state.stopping:
        return Leaving(Reason.STOPPING)
    if own is None or own.priority == 0:
        return Leaving(Reason.REMOVED if own is None else Reason.NEVER_ACTIVE)
    if group.healthy is False:
        return Leaving(Reason.UNHEALTHY, detail=group.why)
    return group.tale.left or Leaving(Reason.RELEASED)


def _round_all(group: GroupState) -> dict[str, float]:
    return {step: round(seconds, 4) for step, seconds in group.steps.took.items()}


# --- serving -----------------------------------------------------------------------------------------------------


def note_serving(turn: Turn, name: str) -> None:
    """Notes that this node serves the group from now on, and for how long nobody did."""
    group, last = turn.groups[name], turn.state.store.served.get(name)
    gap = 0.0 if last is None else max(turn.now - last, 0.0)
    tale = Tale(served_at=turn.now, gap=gap, took=_round_all(group), kept_since=turn.now)
    turn.put_group(name, tale=tale)


def note_adopted(turn: Turn, name: str) -> None:
    """Notes that an earlier life served the group already."""
    turn.put_group(name, tale=Tale(kept_since=turn.now))


def note_leaving(turn: Turn, name: str, leaving: Leaving) -> None:
    """Notes why this node gives the group up, and since when it does not serve it."""
    group, stopped_at = turn.groups[name], None
    if group.role is Role.ACTIVE:
        stopped_at = turn.now
        if leaving.lost and group.right.expires_at is not None:  # the kernel has ended it then, however late we are
            stopped_at = min(turn.now, group.right.expires_at)
        store = turn.state.store
        turn.put(store=replace(store, served={**store.served, name: stopped_at}))
    tale = Tale(leaving, stopped_at, group.tale.asked_by, epoch=group.epoch)
    turn.put_group(name, tale=tale)


def tell(turn: Turn) -> None:
    """Tells in the record of one group since when it is served, or takes an old story out of it."""
    if turn.state.stopping or turn.state.paused:
        return
    kept = {name: group.tale for name, group in turn.groups.items() if group.tale.kept_since is not None}
    kept_for = KEPT_FOR if len(kept) <= MOST_KEPT else KEPT_SHORTLY
    for name, tale in kept.items():
        record, version = turn.state.ownership(name)
        ours = record is not None and record.session == turn.state.session.id and record.wanted is None
        if record is None or not ours or turn.groups[name].role is not Role.ACTIVE or turn.busy(GROUPS + name):
            continue
        if record.change is None:
            turn.put_group(name, tale=replace(tale, kept_since=None))
            continue
        change = _tell_serving(turn.state, record.change, tale)
        if change is not None or turn.now >= (tale.kept_since or 0.0) + kept_for:
            told = next_record(record, turn.state.life.writer, change=change, after=None)
            turn.write(GROUPS + name, Purpose.TELL, told, version)
            return


def _tell_serving(state: State, change: Change, tale: Tale) -> Change | None:
    """Returns the story with what is known since this node serves, or None if the record has it."""
    if change.served or tale.served_at is None:
        return None
    served = find_unix_time(state, tale.served_at)
    stages = {**change.stages, **tale.took}
    return replace(change, served=served, gap=round(tale.gap, 3), stages=stages)
