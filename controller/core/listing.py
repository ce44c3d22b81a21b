"""Records what listings, and the hints of a watch, show of the store. Part of `observe`."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from controller.core import claims
from controller.core import events as ev
from controller.core.election import Sighting, sight
from controller.core.group import GroupState, Leaving, Owned, Reason
from controller.core.records import CLUSTER, GROUPS, SESSIONS, Ownership, Session
from controller.core.state import Phase, Policy, State
from controller.core.values import replace
from controller.stores.base import Entry


def hear_listing(state: State, event: ev.Listed, now: float, policy: Policy) -> State:
    """Records what a listing shows about every key, our session and our groups."""
    recent = {key: at for key, at in state.requests.completed.items() if at >= event.sent_at}
    before, requests = state, replace(state.requests, reading=None, heard=event.request, completed=recent)
    state = replace(state, requests=requests)
    scope = _Scope(state, event.sent_at, policy)
    store = replace(state.store, answered_at=now, unread=False, sightings=_sight_all(state, event, now, policy, scope))
    store = replace(store, served=_note_served(state, store.sightings, now))
    went_back = policy.rules.went_back
    if any(went_back(_find_last_seq(before, key), seen.record) for key, seen in store.sightings.items()):
        store = replace(store, quarantine_until=now + policy.timing.lease_duration)
        session = replace(state.session, over=state.session.over or Reason.RESTORED)
        state = replace(state, session=session)
    state = replace(state, store=replace(store, gone=_remember_gone(before, store.sightings, policy)))
    state = _check_session(state, policy, scope, now)
    unsure = frozenset(key for key in state.store.unsure if not scope.covers(key))
    state = replace(state, store=replace(state.store, unsure=unsure))
    state = claims.look(state, policy.rules.confirmed_at(event.sent_at, now), scope.covers, policy)
    groups = dict(state.groups)
    for name in groups:
        if scope.covers(GROUPS + name):
            groups[name] = _check_group(state, name, policy.rules.confirmed_at(event.sent_at, now), policy)
    return replace(state, groups=groups)


def _find_last_seq(state: State, key: str) -> int | None:
    """Returns the `seq` of the last record that was seen under the key, or None if there was none."""
    seen = state.store.sightings.get(key)
    return seen.record.seq if seen is not None and seen.record is not None else state.store.gone.get(key)


def _remember_gone(before: State, sightings: Mapping[str, Sighting], policy: Policy) -> Mapping[str, int]:
    if not policy.rules.remembers_gone():
        return {}
    missing = [key for key, seen in sightings.items() if key.startswith(GROUPS) and seen.record is None]
    keys = (*missing, *(before.store.gone.keys() - sightings.keys()))
    last = {key: _find_last_seq(before, key) for key in keys}
    return {key: seq for key, seq in last.items() if seq is not None}


def _note_served(state: State, sightings: Mapping[str, Sighting], now: float) -> Mapping[str, float]:
    """Returns when each group was last known to be served by another node: when a beat that says so arrived."""
    served = dict(state.store.served)
    own = {state.session.key, *(SESSIONS + session for session in state.life.past)}
    for key, seen in sightings.items():
        news = seen.since == now and key not in own
        if news and isinstance(seen.record, Session) and not seen.record.fenced:
            served.update((name, now) for name, member in seen.record.groups.items() if member.serving)
    return {name: at for name, at in served.items() if name in state.groups}


class _Scope:
    """The keys that an answer counts for: those that we were not writing while it was on its way."""

    def __init__(self, state: State, sent_at: float, policy: Policy) -> None:
        writing = {write.key: inf for write in state.requests.pending.values()}
        self._completed = {**state.requests.completed, **writing}
        self._sent_at = sent_at
        self._counts = policy.rules.answer_counts

    def covers(self, key: str) -> bool:
        """Returns whether the answer counts for the key."""
        return self._counts(self._sent_at, self._completed.get(key, -inf))


def _sight_all(state: State, event: ev.Listed, now: float, policy: Policy, scope: _Scope) -> Mapping[str, Sighting]:
    lease = policy.timing.lease_duration
    sent_at = policy.rules.confirmed_at(event.sent_at, now)
    fresh = dict(state.store.sightings)
    for key, entry in event.entries.items():
        if scope.covers(key):
            fresh[key] = sight(fresh.get(key), key, entry, sent_at=sent_at, now=now, forget_after=lease)
    absent = [key for key in fresh if key not in event.entries]
    named = {GROUPS + name for name in state.groups} | {state.session.key, CLUSTER} | state.store.unsure
    named |= _find_named_sessions(fresh)
    for key in {*absent, *(key for key in named if key not in event.entries)}:
        if not scope.covers(key):
            continue
        if key in named or _is_missed(fresh[key], now, lease):
            fresh[key] = sight(fresh.get(key), key, None, sent_at=sent_at, now=now, forget_after=lease)
        else:
            del fresh[key]
    return fresh


def _is_missed(seen: Sighting, now: float, lease: float) -> bool:
    """Returns whether this is a session whose record has just gone: its node might still serve what it claimed."""
    if isinstance(seen.record, Session):
        return not seen.record.fenced
    return bool(seen.problem) or (seen.version is None and now - seen.since < 2 * lease)


def _find_named_sessions(sightings: Mapping[str, Sighting]) -> set[str]:
    """Returns the keys of all sessions that a group names: one whose record is missing must still be watched."""
    records = [seen.record for seen in sightings.values() if isinstance(seen.record, Ownership)]
    return {SESSIONS + record.session for record in records if record.session is not None}


def _check_session(state: State, policy: Policy, scope: _Scope, now: float) -> State:
    """Checks our session's record. An unexpected version is either a late write of ours or the end of the session."""
    session = state.session
    joined = state.phase in (Phase.MEMBER, Phase.ADOPTING) or (state.phase is Phase.CREATING and session.seq > 0)
    if not joined or not scope.covers(session.key):
        return state
    seen = state.store.sightings[session.key]
    if not session.doubt and seen.version == session.version:
        return state
    record = seen.record if isinstance(seen.record, Session) else None
    foreign = record is not None and not session.fresh and record.writer != state.life.writer
    if foreign or policy.rules.session_over(record, session.beat):
        return replace(state, session=replace(session, over=session.over or Reason.SESSION_OVER))
    phase = Phase.MEMBER if state.phase is Phase.CREATING else state.phase
    beat, seq = (record.beat, record.seq) if record is not None else (session.beat, session.seq)
    known = replace(session, version=seen.version, doubt=False, beat=beat, seq=seq)
    state = replace(state, phase=phase, session=known)
    if record is None:
        return state
    if state.phase is Phase.ADOPTING and session.version is None:
        return claims.adopt(state, record, now, policy)
    counts = policy.rules.record_counts(seen.version != session.version)
    return claims.note_record(state, record, now) if counts else state


def _check_group(state: State, name: str, confirmed_at: float, policy: Policy) -> GroupState:
    group, seen = state.groups[name], state.store.sightings[GROUPS + name]
    record = seen.record if isinstance(seen.record, Ownership) else None
    if record is not None and record.epoch > group.epoch:
        group = replace(group, epoch=record.epoch)
    right = group.right
    assert state.session.id is not None
    if not policy.rules.still_ours(record, state.session.id):
        if right.owned is None and not right.adoptable:
            return group
        reason = Reason.TAKEN if record is not None else Reason.BAD_RECORD if seen.problem else Reason.DELETED
        leaving = Leaving(reason, lost=True, detail=seen.problem)
        return replace(group, right=replace(right, owned=None, adoptable=False), leaving=leaving)
    if right.owned is not None:
        owned = Owned(seen.version or right.owned.version, right.owned.epoch, confirmed_at)
        return replace(group, right=replace(right, owned=owned))
    own = policy.groups.get(name)
    clear = own is None or policy.rules.needs_clear(own.uses, group.claim.clear)
    enough = policy.rules.reading_is_enough(right.adoptable) and clear
    if enough and record is not None and seen.version is not None:
        owned = Owned(seen.version, record.epoch, confirmed_at)
        taken_as = Reason.ADOPTED if right.adoptable else Reason.REGAINED
        return replace(group, right=replace(right, owned=owned, adoptable=False, taken_as=taken_as))
    if right.adoptable and not clear:
        leaving = Leaving(Reason.CLAIMED, lost=True, detail="the configuration moves something else now")
        return replace(group, right=replace(right, adoptable=False), leaving=leaving)
    return group


# --- hints -------------------------------------------------------------------------------------------------------


def hear_hint(state: State, event: ev.Hint, now: float, policy: Policy) -> State:
    """Records what a hint shows about groups that are not ours, to be acted on immediately. For others, a read follows.

    A hint can be out of date. If we then swap the version that it showed, the swap is refused and no harm is done. A
    group that a hint shows as handed to us counts from the last request whose answer showed the record before. A hint
    never shows that a session is alive. After a hint about a group, listings that were sent before it no longer count
    for that group.
    """
    sightings, completed = dict(state.store.sightings), dict(state.requests.completed)
    for key in event.entries.keys() & _find_takeable(state):
        before, entry, lease = sightings[key], event.entries[key], policy.timing.lease_duration
        seen = sight(before, key, entry, sent_at=-inf, now=now, forget_after=lease)
        if isinstance(seen.record, Ownership) and before.record is not None and seen.record.seq > before.record.seq:
            if seen.handed:
                seen = _date_handover(before, seen, seen.record, now, policy)
            sightings[key], completed[key] = seen, now
    requests = replace(state.requests, completed=completed)
    if not event.entries or any(_needs_listing(state, key, told) for key, told in event.entries.items()):
        requests = replace(requests, read_due=True)
    return replace(state, store=replace(state.store, sightings=sightings), requests=requests)


def _date_handover(before: Sighting, seen: Sighting, record: Ownership, now: float, policy: Policy) -> Sighting:
    """Dates a handover that a hint shows by the answer that showed the version it replaced, if there is one."""
    if before.there_at == -inf or not policy.rules.follows(before.version, record.after):
        return seen  # no answer proves it, nor what follows on it
    return replace(seen, there_at=policy.rules.there_at(before.there_at, now))


def _needs_listing(state: State, key: str, told: Entry) -> bool:
    """Returns whether only a listing can show what this means: the group is ours, or was not seen yet."""
    group = state.groups.get(key.removeprefix(GROUPS))
    if group is None or any(write.key == key for write in state.requests.pending.values()):
        return False  # no group of this node, or one that we are writing: that answer says more
    seen, right = state.store.sightings.get(key), group.right
    held = right.owned is not None or right.adoptable or seen is None or seen.record is None
    return held and (seen is None or seen.version != told.version)


def _find_takeable(state: State) -> set[str]:
    """Returns the keys of the groups that a hint can update: seen before, not ours, and not being written."""
    ours = {
        GROUPS + name for name, group in state.groups.items() if group.right.owned is not None or group.right.adoptable
    }
    groups = {GROUPS + name for name in state.groups}
    return (groups & state.store.sightings.keys()) - ours - {write.key for write in state.requests.pending.values()}
