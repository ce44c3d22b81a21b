"""What the store's replies change in what the core knows: what became of our writes, and what a listing shows."""

from __future__ import annotations

from controller.core import events as ev
from controller.core.election import Sighting
from controller.core.listing import heard
from controller.core.records import GROUPS, Cluster, Ownership, Session
from controller.core.state import Owned, Pending, Phase, Policy, Purpose, Renewal, Role, State, with_group
from controller.core.values import replace


def wrote(state: State, event: ev.Wrote, now: float, policy: Policy) -> State:
    """It landed: the record is as we wrote it, at a new version."""
    write = state.pending[event.request]
    there_at = policy.rules.confirmed_at(event.sent_at, now)
    seen = Sighting(now, now, event.version, write.value or b"", write.record, there_at=there_at)
    if write.value is None:
        seen = Sighting(now, now)
    state = replace(_ended(state, event.request, now), sightings={**state.sightings, write.key: seen})
    if write.key.startswith(GROUPS):
        return _wrote_group(state, write, event, now, policy)
    match write.purpose:
        case Purpose.CREATE if write.key == state.own_key:
            record = write.record
            assert isinstance(record, Session)
            return replace(
                state, phase=Phase.MEMBER, version=event.version, doubt=False, beat=record.beat, seq=record.seq,
                fresh=False, next_round_at=now,
            )  # fmt: skip
        case Purpose.BEAT if write.key == state.own_key and state.round is not None:
            return _beaten(state, write, event, now, policy)
        case Purpose.PAUSE:
            done = isinstance(write.record, Cluster) and write.record.paused == state.want_paused
            return replace(state, want_paused=None if done else state.want_paused)
        case Purpose.LEAVE:
            return replace(state, phase=Phase.LEFT)
        case _:
            return state


def _wrote_group(state: State, write: Pending, event: ev.Wrote, now: float, policy: Policy) -> State:
    record, name = write.record, write.key.removeprefix(GROUPS)
    assert isinstance(record, Ownership)
    group = state.groups.get(name)
    if group is None:  # given back for an earlier life that had it configured
        return state
    confirmed_at = policy.rules.confirmed_at(event.sent_at, now)
    if write.purpose is Purpose.WANT:  # what was heard of the group meanwhile was not listened to
        state = replace(with_group(state, name, ask=None), look=True)
    ours = record.session is not None and record.session == state.session
    if ours and (write.purpose is Purpose.TAKE or group.owned is not None):
        owned = Owned(event.version, record.epoch, confirmed_at)
        return with_group(state, name, owned=owned, epoch=max(group.epoch, record.epoch), adoptable=False)
    return state


def _beaten(state: State, write: Pending, event: ev.Wrote, now: float, policy: Policy) -> State:
    record, turn = write.record, state.round
    assert isinstance(record, Session)
    assert turn is not None
    assert turn.timer_at is not None
    renewal = Renewal(policy.rules.renewed_at(turn.timer_at, now), turn.timer_at, turn.slot)
    phase = Phase.MEMBER if state.phase is Phase.ADOPTING else state.phase
    state = replace(
        state, phase=phase, version=event.version, beat=record.beat, seq=record.seq, fresh=False, renewed=renewal,
        spare_slot=1 - turn.slot, round=replace(turn, beating=False),
    )  # fmt: skip
    return _round_over(state, now, policy)


def refused(state: State, event: ev.Refused, now: float, policy: Policy) -> State:
    """Somebody else wrote first: what we thought of the key was wrong."""
    return _not_written(state, event.request, now, policy)


def unsure(state: State, event: ev.Unsure, now: float, policy: Policy) -> State:
    """It may have landed or not, or may land yet."""
    return replace(_not_written(state, event.request, now, policy), out_of_contact=True)


def _not_written(state: State, request: int, now: float, policy: Policy) -> State:
    """Refused, or nobody knows: forget what we thought of the key and read."""
    write = state.pending[request]
    sightings = {key: seen for key, seen in state.sightings.items() if key != write.key}
    last, gone = state.sightings.get(write.key), dict(state.gone)
    if last is not None and last.record is not None and write.key.startswith(GROUPS):
        gone[write.key] = last.record.seq
    state = replace(_ended(state, request, now), sightings=sightings, gone=gone, look=True)
    if write.purpose is Purpose.LEAVE:
        return replace(state, phase=Phase.LEFT)
    if write.key == state.own_key:
        state = replace(state, doubt=True)
        if state.round is not None:
            state = replace(state, round=replace(state.round, beating=False, failed=True))
            return _round_over(state, now, policy)
    return state


def _ended(state: State, request: int, now: float) -> State:
    key = state.pending[request].key
    pending = {number: write for number, write in state.pending.items() if number != request}
    return replace(state, pending=pending, completed={**state.completed, key: now})


def failed(state: State, event: ev.Failed, now: float, policy: Policy) -> State:
    """A listing was not answered; it is asked for again."""
    if event.request != state.reading:
        return state
    pause = now + policy.timing.retry_period / 4
    state = replace(state, reading=None, look=True, look_at=pause, out_of_contact=True)
    if state.round is not None and state.round.sent:
        state = replace(state, round=replace(state.round, listing=False, failed=True))
    return _round_over(state, now, policy)


def _round_over(state: State, now: float, policy: Policy) -> State:
    turn = state.round
    if turn is None or turn.beating or turn.listing:
        return state
    if turn.failed:
        return replace(state, round=None, next_round_at=now + policy.timing.retry_period / 4)
    groups = state.groups
    if state.out_of_contact:  # clients may have learnt another MAC meanwhile
        groups = {name: replace(g, announce=g.role is Role.ACTIVE) for name, g in groups.items()}
    pause = policy.timing.retry_period
    if state.next_round_at > turn.began_at:  # something that the others must know happened meanwhile
        pause /= 4
    next_at = max(turn.began_at + pause, now)
    return replace(state, round=None, next_round_at=next_at, out_of_contact=False, groups=groups)


def listed(state: State, event: ev.Listed, now: float, policy: Policy) -> State:
    """What the store holds, as of some moment after it was asked."""
    if event.request != state.reading:
        return state
    state = heard(state, event, now, policy)
    turn = state.round
    if turn is not None and turn.timer_at is not None and event.sent_at >= turn.timer_at and turn.sent:
        state = _round_over(replace(state, round=replace(turn, listing=False)), now, policy)
    return state
