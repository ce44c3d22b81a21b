"""The life of our session: clear, create or adopt, a round per retry_period, and the clean end. Part of `decide`."""

from __future__ import annotations

from controller.core import events as ev
from controller.core.election import fit_sessions, live_sessions
from controller.core.events import Step
from controller.core.records import (
    CLUSTER,
    GROUPS,
    SESSIONS,
    Cluster,
    Membership,
    Ownership,
    Session,
    SessionId,
    next_record,
)
from controller.core.state import Phase, Purpose, Role, Round
from controller.core.turn import Turn
from controller.core.values import replace

COLLECT_AFTER = 24 * 3600.0  # seconds; longer than any write of a session's life can be late
_AT_REST = frozenset({Role.INIT, Role.STANDBY, Role.FAULT, Role.PAUSED})


def begin(turn: Turn) -> None:
    """What comes before the groups decide: a session that is over takes them all down."""
    state = turn.state
    if state.over is not None and state.phase in (Phase.MEMBER, Phase.ADOPTING, Phase.CREATING):
        turn.put(phase=Phase.ENDING, round=None, renewed=None, concerned=None)
    _establish(turn)


def go_on(turn: Turn) -> None:
    """What comes after the groups have decided."""
    match turn.state.phase:
        case Phase.CLEARING:
            _clear(turn)
        case Phase.ENDING:
            _end(turn)
        case Phase.CREATING:
            _create(turn)
        case Phase.MEMBER | Phase.ADOPTING:
            _save(turn)
            _round(turn)
            _pause(turn)
        case _:
            pass
    if turn.stopping:
        _leave(turn)
    _look(turn)


def _clear(turn: Turn) -> None:
    if not turn.state.clearing and turn.due(turn.state.next_round_at):
        turn.put(clearing=True)
        turn.act(ev.Clear())


def _end(turn: Turn) -> None:
    """A new life begins once every guard of the old one is shut."""
    state = turn.state
    assert state.session is not None
    shut = all(group.shut and group.owned is None for group in turn.groups.values())
    if shut or not turn.policy.rules.clears_at_start():
        turn.put(phase=Phase.MINTING, past=state.past | {state.session})
        turn.act(ev.Mint())


def _create(turn: Turn) -> None:
    """Once: whether a creation of unknown outcome landed, a read tells. The id is never created a second time."""
    state = turn.state
    if state.seq == 0 and not turn.stopping and turn.due(state.next_round_at):
        record = _session(turn, beat=0)
        turn.put(seq=record.seq)
        turn.write(turn.state.own_key, Purpose.CREATE, record, None)
    elif state.seq > 0:
        turn.put(look=_may_tell(turn))


def _may_tell(turn: Turn) -> bool:
    """A read sent now would tell what our session's record is; one sent before our write ended does not."""
    return not turn.busy(turn.state.own_key)


def _session(turn: Turn, beat: int) -> Session:
    groups = {
        name: Membership(
            turn.policy.groups[name].priority, bool(group.healthy), group.epoch if group.role is Role.ACTIVE else 0
        )
        for name, group in turn.groups.items()
        if name in turn.policy.groups
    }
    state, policy = turn.state, turn.policy
    return Session(
        node=policy.node,
        beat=beat,
        campaigning=state.established,
        lease_duration=float(policy.timing.lease_duration),
        groups=groups,
        seq=state.seq + 1,
        writer=state.writer,
    )


def _save(turn: Turn) -> None:
    """A confirmed beat is what a later life may adopt."""
    state, policy = turn.state, turn.policy
    if state.renewed is not None and state.beat > state.saved_beat and state.session is not None:
        turn.put(saved_beat=state.beat)
        turn.act(ev.Save(ev.Saved(state.session, state.beat, policy.boot_id, policy.node)))


# --- rounds ------------------------------------------------------------------------------------------------------


def _round(turn: Turn) -> None:
    """The timer starts before the renewal leaves; renewal and listing go out together."""
    state = turn.state
    current = state.round
    if state.doubt:
        turn.put(look=_may_tell(turn), round=current if current is not None and current.sent else None)
    elif current is None:
        _begin_round(turn)
    elif current.timer_at is not None and not current.sent:
        turn.put(round=replace(current, sent=True))
        turn.write(turn.state.own_key, Purpose.BEAT, _session(turn, state.beat + 1), state.version)
        turn.read()
    elif current.sent and current.listing:
        turn.read()


def _begin_round(turn: Turn) -> None:
    state = turn.state
    arming = any(group.arming for group in turn.groups.values())
    if arming or turn.busy(turn.state.own_key) or not turn.due(state.next_round_at):
        return
    _collect(turn)
    if state.renewed is not None:
        _disown(turn)
    turn.put(round=Round(state.spare_slot, turn.now), next_round_at=turn.now)
    turn.act(ev.StartTimer(state.spare_slot, turn.policy.timing.renew_deadline))


def _collect(turn: Turn) -> None:
    """One session that no group names and that has not changed for a day: fence it; delete it a day later."""
    sightings = turn.state.sightings
    owners = [seen.record for seen in sightings.values() if isinstance(seen.record, Ownership)]
    named = {sid for record in owners for sid in (record.session, record.from_session)}
    for key, seen in sightings.items():
        record, sid = seen.record, key.removeprefix(SESSIONS)
        old = turn.now - seen.since >= COLLECT_AFTER and sid not in named and sid != turn.state.session
        if isinstance(record, Session) and old and not turn.busy(key):
            fenced = None if record.fenced else next_record(record, turn.state.writer, fenced=True)
            turn.write(key, Purpose.COLLECT, fenced, seen.version)
            return


def _disown(turn: Turn) -> None:
    """Give back what an adopted session owns and this configuration does not have: nobody else could take it."""
    for key, seen in turn.state.sightings.items():
        record = seen.record
        foreign = key.startswith(GROUPS) and key.removeprefix(GROUPS) not in turn.groups
        if foreign and isinstance(record, Ownership) and record.session == turn.state.session and not turn.busy(key):
            free = next_record(record, turn.state.writer, session=None, node=None, offered_to=None, wanted=None)
            turn.write(key, Purpose.RELEASE, free, seen.version)


def _look(turn: Turn) -> None:
    state = turn.state
    known = state.phase in (Phase.CREATING, Phase.MEMBER, Phase.ADOPTING)
    if known and state.look and state.reading is None and turn.due(state.look_at):
        turn.read()


def _establish(turn: Turn) -> None:
    """Two live sessions with one node name: the second does not campaign while the first lives."""
    state = turn.state
    if state.established or state.renewed is None or state.round is not None:
        return
    if not has_twin(turn):
        turn.put(established=True, next_round_at=turn.now, concerned=None)


def has_twin(turn: Turn) -> bool:
    """Whether another live session has our node's name, and came first."""
    state = turn.state
    return any(
        record.node == turn.policy.node
        and sid != state.session
        and sid not in state.past
        and (record.campaigning or sid < str(state.session))
        for sid, record in live_sessions(state.sightings, turn.now, turn.policy.timing.lease_duration)
    )


def _pause(turn: Turn) -> None:
    wanted, seen = turn.state.want_paused, turn.state.sightings.get(CLUSTER)
    if wanted is None or seen is None or turn.busy(CLUSTER) or turn.state.heard <= turn.state.asked_after:
        return
    record = seen.record if isinstance(seen.record, Cluster) else Cluster()
    if seen.problem or record.paused == wanted:
        turn.put(want_paused=None)
    else:
        turn.write(CLUSTER, Purpose.PAUSE, next_record(record, turn.state.writer, paused=wanted), seen.version)


# --- leaving -----------------------------------------------------------------------------------------------------


def _leave(turn: Turn) -> None:
    """Paused: go and leave all as it is, for the next life to adopt. Else release, then fence our own session."""
    state = turn.state
    if state.phase is Phase.LEFT:
        turn.act(ev.Exit())
        turn.put(phase=Phase.GONE)
    elif turn.state.paused and state.phase in (Phase.MEMBER, Phase.ADOPTING):
        turn.act(ev.Exit(keep=True))
        turn.put(phase=Phase.GONE)
    elif state.phase in (Phase.LEAVING, Phase.GONE) or not _released(turn):
        return
    elif state.phase is Phase.MEMBER and not state.doubt:
        if state.round is None and not turn.busy(turn.state.own_key):
            record = replace(_session(turn, state.beat), fenced=True)
            turn.write(turn.state.own_key, Purpose.LEAVE, record, state.version)
            turn.put(phase=Phase.LEAVING)
    else:
        turn.act(ev.Exit())
        turn.put(phase=Phase.GONE)


def _released(turn: Turn) -> bool:
    """Every group is shut, and its record says so, as far as time allows. A demote hook has a limit of its own."""
    assert turn.state.stop_by is not None
    if any(group.step is Step.DEMOTE for group in turn.groups.values()):
        return False
    if turn.due(turn.state.stop_by):
        return True
    if any(group.role not in _AT_REST or not group.shut for group in turn.groups.values()):
        return False
    if turn.state.phase is Phase.CLEARING:
        return not turn.state.clearing
    named = any(
        isinstance(seen.record, Ownership) and seen.record.session == turn.state.session and key.startswith(GROUPS)
        for key, seen in turn.state.sightings.items()
    )
    pending = any(write.purpose in (Purpose.TAKE, Purpose.RELEASE) for write in turn.state.pending.values())
    return not (named or pending)


def best_fit(turn: Turn, group: str, to: str | None) -> SessionId | None:
    """The session that a switchover to this node (None: to the next in rank) would hand the group to."""
    fit = [
        (-member.priority, record.node, sid)
        for sid, record, member in fit_sessions(
            group, turn.state.sightings, turn.now, turn.policy.timing.lease_duration
        )
        if sid != turn.state.session and to in (None, record.node)
    ]
    return min(fit)[2] if fit else None
