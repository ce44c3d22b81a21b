"""Records what the store's replies show: the outcome of each of our writes, and listings. Part of `observe`."""

from __future__ import annotations

from controller.core import claims
from controller.core import events as ev
from controller.core.election import Sighting
from controller.core.group import Owned, Role
from controller.core.listing import hear_listing
from controller.core.records import GROUPS, SESSIONS, Cluster, Ownership, Session
from controller.core.state import OwnSession, Pending, Phase, Policy, Purpose, Renewal, State
from controller.core.values import replace


def note_write(state: State, event: ev.Wrote, now: float, policy: Policy) -> State:
    """Notes that a write landed: the record is as we wrote it, at a new version."""
    write = state.requests.pending[event.request]
    there_at = policy.rules.confirmed_at(event.sent_at, now)
    sightings = {key: seen for key, seen in state.store.sightings.items() if key != write.key}
    if write.value is not None:  # what we deleted was fenced, so it is not missed
        sightings[write.key] = Sighting(now, now, event.version, write.value, write.record, there_at=there_at)
    store = replace(state.store, sightings=sightings)
    state = replace(_end_write(state, event.request, now), store=store)
    if write.key.startswith(GROUPS):
        return _note_group_write(state, write, event, now, policy)
    match write.purpose:
        case Purpose.CREATE if write.key == state.session.key:
            record = write.record
            assert isinstance(record, Session)
            session = replace(_note_version(state.session, event, record), doubt=False)
            member = replace(state, phase=Phase.MEMBER, session=session).with_round_at(now)
            return claims.note_landed(member, now)
        case Purpose.BEAT if write.key == state.session.key and state.rounds.current is not None:
            return _note_beat(state, write, event, now, policy)
        case Purpose.PAUSE:
            assert isinstance(write.record, Cluster)
            wish = state.wishes.pause
            done = wish is not None and (wish.withdrawn or wish.holds_in(write.record))
            return replace(state, wishes=replace(state.wishes, pause=None)) if done else state
        case Purpose.LEAVE:
            return replace(state, phase=Phase.LEFT)
        case _:
            return state


def _note_group_write(state: State, write: Pending, event: ev.Wrote, now: float, policy: Policy) -> State:
    record, name = write.record, write.key.removeprefix(GROUPS)
    assert isinstance(record, Ownership)
    group = state.groups.get(name)
    if group is None:  # given back on behalf of an earlier life that had it configured
        return state
    if write.purpose is Purpose.WANT:  # what the store showed of the group meanwhile did not count
        group = replace(group, campaign=replace(group.campaign, ask=None))
        state = state.with_group(name, group).with_read_due()
    ours = record.session is not None and record.session == state.session.id
    if ours and (write.purpose is Purpose.TAKE or group.right.owned is not None):
        owned = Owned(event.version, record.epoch, policy.rules.confirmed_at(event.sent_at, now))
        right = replace(group.right, owned=owned, adoptable=False)
        return state.with_group(name, replace(group, right=right, epoch=max(group.epoch, record.epoch)))
    return state


def _note_beat(state: State, write: Pending, event: ev.Wrote, now: float, policy: Policy) -> State:
    record, current = write.record, state.rounds.current
    assert isinstance(record, Session)
    assert current is not None
    assert current.timer_at is not None
    renewal = Renewal(policy.rules.renewed_at(current.timer_at, now), current.timer_at, current.slot)
    state = claims.note_gap(state, now - state.session.landed_at, now, policy)
    state = replace(
        state,
        phase=Phase.MEMBER if state.phase is Phase.ADOPTING else state.phase,
        store=replace(state.store, answered_at=now),
        session=_note_version(state.session, event, record),
        rounds=replace(
            state.rounds, renewed=renewal, spare_slot=1 - current.slot, current=replace(current, beating=False)
        ),
    )
    return _end_round(claims.note_landed(state, now), now, policy)


def _note_version(session: OwnSession, event: ev.Wrote, record: Session) -> OwnSession:
    version, landed_at = event.version, event.sent_at
    return replace(session, version=version, beat=record.beat, seq=record.seq, fresh=False, landed_at=landed_at)


def note_refusal(state: State, event: ev.Refused, now: float, policy: Policy) -> State:
    """Notes that a write was refused: another write came first, so what we knew of the key is out of date."""
    return _forget_key(state, event.request, now, policy)


def note_silence(state: State, event: ev.Unsure, now: float, policy: Policy) -> State:
    """Notes that the outcome of a write is unknown: it might have landed, or might still land."""
    state = _forget_key(state, event.request, now, policy)
    return replace(state, store=replace(state.store, out_of_contact=True))


def _forget_key(state: State, request: int, now: float, policy: Policy) -> State:
    """Forgets what we knew of a key whose write did not surely land, and makes a read due."""
    write, store = state.requests.pending[request], state.store
    sightings = {key: seen for key, seen in store.sightings.items() if key != write.key}
    last, gone = store.sightings.get(write.key), dict(store.gone)
    if last is not None and last.record is not None and write.key.startswith(GROUPS):
        gone[write.key] = last.record.seq
    unsure = store.unsure
    if _might_serve(write.key, last, state) and policy.rules.remembers_session():
        unsure |= {write.key}
    state = replace(state, store=replace(store, sightings=sightings, gone=gone, unsure=unsure))
    state = _pace_reads(_end_write(state, request, now).with_read_due(), write.key, now, policy)
    if write.purpose is Purpose.LEAVE:
        return replace(state, phase=Phase.LEFT)
    if write.key == state.session.key:
        state = claims.note_doubt(replace(state, session=replace(state.session, doubt=True)), now)
        if state.rounds.current is not None:
            current = replace(state.rounds.current, beating=False, failed=True)
            return _end_round(replace(state, rounds=replace(state.rounds, current=current)), now, policy)
    return state


def _might_serve(key: str, seen: Sighting | None, state: State) -> bool:
    """Returns whether this is another session's key, and the session is not known to be fenced."""
    record = None if seen is None else seen.record
    fenced = isinstance(record, Session) and record.fenced
    own = {state.session.key, *(f"{SESSIONS}{session}" for session in state.life.past)}
    return key.startswith(SESSIONS) and key not in own and not fenced


def _pace_reads(state: State, key: str, now: float, policy: Policy) -> State:
    """Delays the read if a write of the key failed a moment ago, too: the store might refuse it each time, at once."""
    requests, pause = state.requests, policy.timing.retry_period / 4
    lately = {other: at for other, at in requests.failed.items() if now - at < 2 * pause}
    read_from = max(requests.read_from, now + pause) if key in lately else requests.read_from
    return replace(state, requests=replace(requests, failed={**lately, key: now}, read_from=read_from))


def _end_write(state: State, request: int, now: float) -> State:
    requests = state.requests
    key = requests.pending[request].key
    pending = {number: write for number, write in requests.pending.items() if number != request}
    return replace(state, requests=replace(requests, pending=pending, completed={**requests.completed, key: now}))


def note_failure(state: State, event: ev.Failed, now: float, policy: Policy) -> State:
    """Notes that a listing was not answered, and makes another one due."""
    if event.request != state.requests.reading:
        return state
    read_from = now + policy.timing.retry_period / 4
    requests = replace(state.requests, reading=None, read_due=True, read_from=read_from)
    state = replace(state, requests=requests, store=replace(state.store, out_of_contact=True))
    current = state.rounds.current
    if current is not None and current.sent:
        current = replace(current, listing=False, failed=True)
        state = replace(state, rounds=replace(state.rounds, current=current))
    return _end_round(state, now, policy)


def _end_round(state: State, now: float, policy: Policy) -> State:
    """Ends the round once renewal and listing are answered. Until then, changes nothing."""
    rounds, current, period = state.rounds, state.rounds.current, policy.timing.retry_period
    if current is None or current.beating or current.listing:
        return state
    if current.failed:
        renewed = rounds.renewed is not None and rounds.renewed.started_at == current.timer_at
        state = replace(state, store=replace(state.store, unread=state.store.unread or renewed))
        return replace(state, rounds=replace(rounds, current=None, next_at=now + period / 4))
    if rounds.next_at > current.began_at:  # something happened meanwhile that the other nodes must know
        period /= 4
    next_at = max(current.began_at + period, now)
    state = replace(state, rounds=replace(rounds, current=None, next_at=next_at))
    return _regain_contact(state) if state.store.out_of_contact else state


def _regain_contact(state: State) -> State:
    """Has active groups announced again: clients might have learnt another MAC meanwhile."""
    groups = {
        name: replace(group, upkeep=replace(group.upkeep, announce=group.role is Role.ACTIVE))
        for name, group in state.groups.items()
    }
    return replace(state, groups=groups, store=replace(state.store, out_of_contact=False))


def note_listing(state: State, event: ev.Listed, now: float, policy: Policy) -> State:
    """Notes what the store held at some moment after the listing was sent."""
    if event.request != state.requests.reading:
        return state
    state = hear_listing(state, event, now, policy)
    current = state.rounds.current
    if current is not None and current.timer_at is not None and event.sent_at >= current.timer_at and current.sent:
        rounds = replace(state.rounds, current=replace(current, listing=False))
        state = _end_round(replace(state, rounds=rounds), now, policy)
    return state
