"""Runs our session: clear, create or adopt it, one round each retry_period, and its clean end. Part of `decide`."""

from __future__ import annotations

from collections.abc import Mapping

from controller.core import claims, differences
from controller.core import events as ev
from controller.core.election import Sighting, fit_sessions, live_sessions
from controller.core.events import Step
from controller.core.group import AT_REST, Reason, Role
from controller.core.records import (
    CLUSTER,
    GROUPS,
    SESSIONS,
    Change,
    Cluster,
    Membership,
    Ownership,
    Session,
    SessionId,
    next_record,
)
from controller.core.state import PauseSeen, PauseWish, Phase, Policy, Purpose, Round, State
from controller.core.story import clip, end_session, tell
from controller.core.turn import Turn
from controller.core.values import replace

COLLECT_AFTER = 24 * 3600.0  # seconds; longer than any write of a session can be late


def begin(turn: Turn) -> None:
    """Does what comes before the groups decide. A session that is over takes all of them down."""
    _watch_pause(turn)
    state = turn.state
    if state.session.over is not None and state.phase in (Phase.MEMBER, Phase.ADOPTING, Phase.CREATING):
        turn.put(phase=Phase.ENDING, rounds=replace(state.rounds, current=None, renewed=None))
    _establish(turn)


def go_on(turn: Turn) -> None:
    """Does what comes after the groups have decided."""
    match turn.state.phase:
        case Phase.CLEARING:
            _clear(turn)
        case Phase.ENDING:
            _end(turn)
        case Phase.CREATING:
            _create(turn)
        case Phase.MEMBER | Phase.ADOPTING:
            _save(turn)
            _go_round(turn)
            _pause(turn)
        case _:
            pass
    if turn.state.stopping:
        _leave(turn)
    _read_if_due(turn)


def _clear(turn: Turn) -> None:
    life = turn.state.life
    if not life.clearing and turn.due_or_wake(turn.state.rounds.next_at):
        turn.put(life=replace(life, clearing=True))
        turn.act(ev.Clear())


def _end(turn: Turn) -> None:
    """Asks for a new session once the guard is shut for every group of the old one."""
    life, session = turn.state.life, turn.state.session.id
    assert session is not None
    shut = all(group.arming.shut and group.right.owned is None for group in turn.groups.values())
    if shut or not turn.policy.rules.clears_at_start():
        turn.put(phase=Phase.MINTING, life=replace(life, past=life.past | {session}))
        turn.act(ev.Mint())


def _create(turn: Turn) -> None:
    """Creates our session's record, once per id. If the outcome is unknown, a read shows whether it landed."""
    state = turn.state
    if state.session.seq == 0 and not state.stopping and turn.due_or_wake(state.rounds.next_at):
        record = _make_record(state, turn.policy, beat=0)
        turn.put(session=replace(state.session, seq=record.seq, saying=_list_claims(state)))
        turn.write(state.session.key, Purpose.CREATE, record, None)
    elif state.session.seq > 0:
        _read_when_it_tells(turn)


def _read_when_it_tells(turn: Turn) -> None:
    """Makes a read due once our session's record is not being written: an earlier read would not show the outcome."""
    may_tell = not turn.busy(turn.state.session.key)
    turn.put(requests=replace(turn.state.requests, read_due=may_tell))


def _list_claims(state: State) -> Mapping[str, frozenset[str]]:
    return {name: group.claim.raised for name, group in state.groups.items()}


def _make_record(state: State, policy: Policy, beat: int) -> Session:
    told = [name for name, group in state.groups.items() if name in policy.groups or not claims.is_shut(group)]
    full = claims.list_in_full(state, told)
    groups = {name: _make_member(state, policy, name, in_full=name in full) for name in told}
    differ = any(other.config not in ("", policy.config) for _, other in differences.list_others(state))
    return Session(
        node=policy.node,
        beat=beat,
        campaigning=state.session.established,
        lease_duration=float(policy.timing.lease_duration),
        version=policy.version,
        config=policy.config,
        facts=policy.facts if differ else None,
        groups=groups,
        seq=state.session.seq + 1,
        writer=state.life.writer,
    )


def _make_member(state: State, policy: Policy, name: str, *, in_full: bool) -> Membership:
    group, own = state.groups[name], policy.groups.get(name)
    raised = group.claim.raised
    return Membership(
        priority=0 if own is None else own.priority,
        healthy=group.fit,
        serving=group.epoch if group.role is Role.ACTIVE else 0,
        stake=group.claim.stake,
        digest=claims.digest(raised),
        claims=tuple(sorted(raised)) if in_full else None,
        why=clip(group.why, 80) if group.healthy is False else "",
    )


def _save(turn: Turn) -> None:
    """Saves a confirmed beat, which a later life can adopt."""
    session, policy = turn.state.session, turn.policy
    if turn.state.rounds.renewed is not None and session.beat > session.saved_beat and session.id is not None:
        turn.put(session=replace(session, saved_beat=session.beat))
        pause = turn.state.pause_seen
        turn.act(
            ev.Save(
                ev.Saved(session.id, session.beat, policy.boot_id, policy.node, pause.id or "", pause.since),
            )
        )


# --- rounds ------------------------------------------------------------------------------------------------------


def _go_round(turn: Turn) -> None:
    """Takes the round further. The timer starts before the renewal leaves; renewal and listing leave together."""
    session, rounds = turn.state.session, turn.state.rounds
    current = rounds.current
    if session.doubt:
        _read_when_it_tells(turn)
    elif current is None:
        _begin_round(turn)
    elif current.timer_at is not None and not current.sent:
        turn.put(rounds=replace(rounds, current=replace(current, sent=True)))
        record = _make_record(turn.state, turn.policy, session.beat + 1)
        turn.put(session=replace(session, saying=_list_claims(turn.state)))
        turn.write(session.key, Purpose.BEAT, record, session.version)
        turn.read()
    elif current.sent and current.listing:
        turn.read()


def _begin_round(turn: Turn) -> None:
    rounds = turn.state.rounds
    arming = any(group.arming.in_flight for group in turn.groups.values())
    if arming or turn.busy(turn.state.session.key) or not turn.due_or_wake(rounds.next_at):
        return
    _collect(turn)
    tell(turn)
    if rounds.renewed is not None:
        _disown(turn)
    turn.put(rounds=replace(rounds, current=Round(rounds.spare_slot, turn.now), next_at=turn.now))
    turn.act(ev.StartTimer(rounds.spare_slot, turn.policy.timing.renew_deadline))


def _collect(turn: Turn) -> None:
    """Fences one session that no group names and that has not changed for a day, or deletes it a day later."""
    sightings, writer = turn.state.store.sightings, turn.state.life.writer
    named = {seen.record.session for seen in sightings.values() if isinstance(seen.record, Ownership)}
    for key, seen in sightings.items():
        record, sid = seen.record, key.removeprefix(SESSIONS)
        old = turn.now - seen.since >= COLLECT_AFTER and sid not in named and sid != turn.state.session.id
        if isinstance(record, Session) and old and not turn.busy(key):
            ended = end_session(turn.state, turn.policy, turn.now, "silent", seen.since)
            fenced = None if record.fenced else next_record(record, writer, fenced=True, ended=ended)
            turn.write(key, Purpose.COLLECT, fenced, seen.version)
            return


def _disown(turn: Turn) -> None:
    """Gives back groups that our session owns but that are no longer configured: no other node could take them."""
    session, writer = turn.state.session.id, turn.state.life.writer
    for key, seen in turn.state.store.sightings.items():
        record = seen.record
        foreign = key.startswith(GROUPS) and key.removeprefix(GROUPS) not in turn.groups
        if foreign and isinstance(record, Ownership) and record.session == session and not turn.busy(key):
            change = Change(turn.policy.node, Reason.REMOVED.value)
            free = next_record(record, writer, session=None, node=None, offered_to=None, wanted=None, change=change)
            turn.write(key, Purpose.RELEASE, free, seen.version)


def _read_if_due(turn: Turn) -> None:
    requests = turn.state.requests
    known = turn.state.phase in (Phase.CREATING, Phase.MEMBER, Phase.ADOPTING)
    if known and requests.read_due and requests.reading is None and turn.due_or_wake(requests.read_from):
        turn.read()


def _establish(turn: Turn) -> None:
    """Lets our session campaign, unless an earlier live session has the same node name."""
    state = turn.state
    if state.session.established or state.rounds.renewed is None or state.rounds.current is not None:
        return
    if not has_twin(state, turn.now, turn.policy):
        turn.put(session=replace(state.session, established=True))
        turn.begin_round_now()
        turn.concern_all()


def has_twin(state: State, now: float, policy: Policy) -> bool:
    """Returns whether another live session has our node's name and came first."""
    own = state.session.id
    return any(
        record.node == policy.node
        and sid != own
        and sid not in state.life.past
        and (record.campaigning or sid < str(own))
        for sid, record in live_sessions(state.store.sightings, now, policy.timing.lease_duration)
    )


def _watch_pause(turn: Turn) -> None:
    """Notes since when this node has seen the present pause."""
    if CLUSTER not in turn.state.store.sightings:
        return  # a write of it had no answer, so it is not known for a moment
    pause = turn.state.pause
    now_seen = None if pause is None else pause.id
    if now_seen != turn.state.pause_seen.id:
        turn.put(pause_seen=PauseSeen(now_seen, turn.now))


def _pause(turn: Turn) -> None:
    """Carries out what an operator asked for, or ends a pause whose time is over."""
    wish, seen = turn.state.wishes.pause, turn.state.store.sightings.get(CLUSTER)
    if seen is None or turn.busy(CLUSTER):
        return
    if wish is None:
        _end_pause_in_time(turn, seen)
    elif turn.state.requests.heard > wish.asked_after:
        _carry_out(turn, wish, seen)


def _carry_out(turn: Turn, wish: PauseWish, seen: Sighting) -> None:
    """Writes the wish, unless the record says it already. Rewrites the record as it is if the wish was withdrawn.

    The rewrite replaces the version that a late copy of the wish expects.
    """
    record = seen.record if isinstance(seen.record, Cluster) else Cluster()
    if seen.problem or wish.holds_in(record):
        turn.put(wishes=replace(turn.state.wishes, pause=None))
        return
    new = record if wish.withdrawn else wish.record
    turn.put(wishes=replace(turn.state.wishes, pause=replace(wish, sent=True)))
    turn.write(CLUSTER, Purpose.PAUSE, next_record(replace(new, seq=record.seq), turn.state.life.writer), seen.version)


def _end_pause_in_time(turn: Turn, seen: Sighting) -> None:
    """Resumes the cluster when the time of the pause is over. The first node whose count is over does so for all."""
    ends = turn.state.pause_ends()
    if ends is not None and turn.due_or_wake(ends):
        assert isinstance(seen.record, Cluster)
        resumed = Cluster(seq=seen.record.seq)
        turn.write(CLUSTER, Purpose.PAUSE, next_record(resumed, turn.state.life.writer), seen.version)


# --- leaving -----------------------------------------------------------------------------------------------------


def _leave(turn: Turn) -> None:
    """Releases everything, then fences our session. If paused, leaves all in place for the next life to adopt."""
    state = turn.state
    if state.phase is Phase.LEFT:
        _exit(turn)
    elif state.paused and state.phase in (Phase.MEMBER, Phase.ADOPTING):
        _exit(turn, keep=True)
    elif state.phase in (Phase.LEAVING, Phase.GONE) or not _may_go(turn):
        return
    elif state.phase is not Phase.MEMBER or state.session.doubt:
        _exit(turn)
    elif state.rounds.current is None and not turn.busy(state.session.key):
        ended = end_session(state, turn.policy, turn.now, "left")
        record = replace(_make_record(state, turn.policy, state.session.beat), fenced=True, ended=ended)
        turn.write(state.session.key, Purpose.LEAVE, record, state.session.version)
        turn.put(phase=Phase.LEAVING)


def _exit(turn: Turn, *, keep: bool = False) -> None:
    turn.act(ev.Exit(keep=keep))
    turn.put(phase=Phase.GONE)


def _may_go(turn: Turn) -> bool:
    """Returns whether all is released or time is up. It waits for a hook that gives up, which has its own limit."""
    stop_by = turn.state.wishes.stop_by
    assert stop_by is not None
    if any(group.steps.running in (Step.DEMOTE, Step.CLEANUP) for group in turn.groups.values()):
        return False
    return turn.due_or_wake(stop_by) or _has_released(turn.state)


def _has_released(state: State) -> bool:
    """Returns whether every group is shut and no record names us."""
    if any(group.role not in AT_REST or not group.arming.shut for group in state.groups.values()):
        return False
    if state.phase is Phase.CLEARING:
        return not state.life.clearing
    named = any(
        isinstance(seen.record, Ownership) and seen.record.session == state.session.id and key.startswith(GROUPS)
        for key, seen in state.store.sightings.items()
    )
    pending = any(write.purpose in (Purpose.TAKE, Purpose.RELEASE) for write in state.requests.pending.values())
    return not (named or pending)


def best_fit(state: State, now: float, policy: Policy, group: str, to: str | None) -> SessionId | None:
    """Returns the fit session that a switchover to node `to` hands the group to; None means the next in rank."""
    sightings, lease = state.store.sightings, policy.timing.lease_duration
    fit = [
        (-member.priority, record.node, sid)
        for sid, record, member in fit_sessions(group, sightings, now, lease)
        if sid != state.session.id and to in (None, record.node)
    ]
    return min(fit)[2] if fit else None
