"""What the store says, and what a node makes of it: listings, and the hints of a watch. Part of `observe`."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from controller.core import events as ev
from controller.core.election import Sighting, sight
from controller.core.records import CLUSTER, GROUPS, SESSIONS, Ownership, Session
from controller.core.state import GroupState, Leaving, Owned, Phase, Policy, Reason, State
from controller.core.values import replace
from controller.stores.base import Entry


def heard(state: State, event: ev.Listed, now: float, policy: Policy) -> State:
    """What the answer to our read says of every key, of our session, and of our groups."""
    recent = {key: at for key, at in state.completed.items() if at >= event.sent_at}
    before, state = state, replace(state, reading=None, heard=event.request, completed=recent)
    told = _Told(state, event.sent_at, policy)
    state = replace(state, sightings=_sightings(state, event, now, policy, told))
    if any(policy.rules.went_back(_seq(before, key), seen.record) for key, seen in state.sightings.items()):
        quarantine = now + policy.timing.lease_duration
        state = replace(state, over=state.over or Reason.RESTORED, quarantine_until=quarantine)
    state = replace(state, gone=_gone(before, state, policy))
    state = _own_session(state, policy, told)
    groups = dict(state.groups)
    for name in groups:
        if told.of(GROUPS + name):
            groups[name] = _own_group(state, name, policy.rules.confirmed_at(event.sent_at, now), policy)
    return replace(state, groups=groups)


def _seq(state: State, key: str) -> int | None:
    """The seq of the last record of the key that was seen; None: none was."""
    seen = state.sightings.get(key)
    return seen.record.seq if seen is not None and seen.record is not None else state.gone.get(key)


def _gone(before: State, after: State, policy: Policy) -> Mapping[str, int]:
    if not policy.rules.remembers_gone():
        return {}
    missing = [key for key, seen in after.sightings.items() if key.startswith(GROUPS) and seen.record is None]
    last = {key: _seq(before, key) for key in (*missing, *(before.gone.keys() - after.sightings.keys()))}
    return {key: seq for key, seq in last.items() if seq is not None}


class _Told:
    """Of which keys an answer tells: one operation per record at a time, so not of those we were writing meanwhile."""

    def __init__(self, state: State, sent_at: float, policy: Policy) -> None:
        self._completed = {**state.completed, **{write.key: inf for write in state.pending.values()}}
        self._sent_at = sent_at
        self._counts = policy.rules.answer_counts

    def of(self, key: str) -> bool:
        """Whether what it says of the key counts."""
        return self._counts(self._sent_at, self._completed.get(key, -inf))


def _sightings(state: State, event: ev.Listed, now: float, policy: Policy, told: _Told) -> Mapping[str, Sighting]:
    lease = policy.timing.lease_duration
    sent_at = policy.rules.confirmed_at(event.sent_at, now)
    fresh = dict(state.sightings)
    for key, entry in event.entries.items():
        if told.of(key):
            fresh[key] = sight(fresh.get(key), key, entry, sent_at=sent_at, now=now, forget_after=lease)
    absent = [key for key in fresh if key not in event.entries]
    named = {GROUPS + name for name in state.groups} | {state.own_key, CLUSTER} | _named_sessions(fresh)
    for key in {*absent, *(key for key in named if key not in event.entries)}:
        if not told.of(key):
            continue
        if key in named:
            fresh[key] = sight(fresh.get(key), key, None, sent_at=sent_at, now=now, forget_after=lease)
        else:
            del fresh[key]
    return fresh


def _named_sessions(sightings: Mapping[str, Sighting]) -> set[str]:
    """The keys of the sessions that some group names: one that is missing must be watched."""
    records = [seen.record for seen in sightings.values() if isinstance(seen.record, Ownership)]
    return {SESSIONS + sid for r in records for sid in (r.session, r.from_session) if sid is not None}


def _own_session(state: State, policy: Policy, told: _Told) -> State:
    """Is our session what we know it to be? An unexpected version is our own late write, or the end."""
    key = state.own_key
    joined = state.phase in (Phase.MEMBER, Phase.ADOPTING) or (state.phase is Phase.CREATING and state.seq > 0)
    if not joined or not told.of(key):
        return state
    seen = state.sightings[key]
    if not state.doubt and seen.version == state.version:
        return state
    record = seen.record if isinstance(seen.record, Session) else None
    foreign = record is not None and not state.fresh and record.writer != state.writer
    if foreign or policy.rules.session_over(record, state.beat):
        return replace(state, over=state.over or Reason.SESSION_OVER)
    phase = Phase.MEMBER if state.phase is Phase.CREATING else state.phase
    beat, seq = (record.beat, record.seq) if record is not None else (state.beat, state.seq)
    return replace(state, phase=phase, version=seen.version, doubt=False, beat=beat, seq=seq)


def _own_group(state: State, name: str, confirmed_at: float, policy: Policy) -> GroupState:
    group, seen = state.groups[name], state.sightings[GROUPS + name]
    record = seen.record if isinstance(seen.record, Ownership) else None
    if record is not None and record.epoch > group.epoch:
        group = replace(group, epoch=record.epoch)
    assert state.session is not None
    if not policy.rules.still_ours(record, state.session):
        if group.owned is None and not group.adoptable:
            return group
        leaving = Leaving(Reason.TAKEN if record is not None else Reason.DELETED, lost=True)
        return replace(group, owned=None, adoptable=False, leaving=leaving)
    if group.owned is not None:
        version = seen.version or group.owned.version
        return replace(group, owned=Owned(version, group.owned.epoch, confirmed_at))
    enough = policy.rules.reading_is_enough(group.adoptable)
    if enough and record is not None and seen.version is not None:
        taken_as = Reason.ADOPTED if group.adoptable else Reason.REGAINED
        owned = Owned(seen.version, record.epoch, confirmed_at)
        return replace(group, owned=owned, adoptable=False, taken_as=taken_as)
    return group


# --- hints -------------------------------------------------------------------------------------------------------


def hinted(state: State, event: ev.Hint, now: float, policy: Policy) -> State:
    """What somebody else wrote of a group that is not ours may be acted on at once; for the rest, look.

    It may be old. A swap of that version succeeds only if it is not, so there it can cost a refusal, nothing else; and
    what was handed to us is ours as of the last request that showed the record. It dates no session. Listings sent
    before it came are not heard about that group.
    """
    fresh, completed, lease = dict(state.sightings), dict(state.completed), policy.timing.lease_duration
    for key in event.entries.keys() & _takeable(state):
        before = fresh[key]
        seen = sight(before, key, event.entries[key], sent_at=-inf, now=now, forget_after=lease)
        if isinstance(seen.record, Ownership) and before.record is not None and seen.record.seq > before.record.seq:
            if seen.handed:
                seen = _handed(before, seen, seen.record, now, policy)
            fresh[key], completed[key] = seen, now
    look = state.look or not event.entries or any(_news(state, key, told) for key, told in event.entries.items())
    return replace(state, look=look, sightings=fresh, completed=completed)


def _handed(before: Sighting, seen: Sighting, record: Ownership, now: float, policy: Policy) -> Sighting:
    """What a hint tells of a handover: true if it was written on what an answer to us had shown, as of then."""
    if before.there_at == -inf or not policy.rules.follows(before.version, record.after):
        return seen  # proven by nothing, nor is what follows on it
    return replace(seen, there_at=policy.rules.there_at(before.there_at, now))


def _news(state: State, key: str, told: Entry) -> bool:
    """Whether only a listing can say what this means: the group is ours, or was not seen yet."""
    group = state.groups.get(key.removeprefix(GROUPS))
    if group is None or any(write.key == key for write in state.pending.values()):
        return False  # another node's business; or our own write, whose answer says more
    seen = state.sightings.get(key)
    held = group.owned is not None or group.adoptable or seen is None or seen.record is None
    return held and (seen is None or seen.version != told.version)


def _takeable(state: State) -> set[str]:
    """The groups' keys of which a hint may tell: seen, not ours, and not being written."""
    own = {GROUPS + name for name, group in state.groups.items() if group.owned is not None or group.adoptable}
    groups = {GROUPS + name for name in state.groups}
    return (groups & state.sightings.keys()) - own - {write.key for write in state.pending.values()}
