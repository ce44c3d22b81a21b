"""A group's record, from this node's side: take it, give it back, ask for it. Part of `decide`."""

from __future__ import annotations

from math import inf

from controller.core.election import Judgement, Verdict, judge
from controller.core.membership import best_fit
from controller.core.records import GROUPS, SESSIONS, Ownership, Session, SessionId, Wanted, next_record
from controller.core.state import Ask, Owned, Phase, Purpose, Reason, Role
from controller.core.turn import Turn
from controller.core.values import replace


def contest(turn: Turn, name: str) -> bool:
    """The group is at rest here and shut: take it if it is our turn, or give back what still names us.

    Whether it is ours now without a write: its owner handed it to us.
    """
    if not _may_contest(turn, name):
        return False
    record, _ = turn.ownership(name)
    mine = record is not None and record.session == turn.state.session
    offered = record is not None and record.offered_to == turn.state.session
    handed = mine and turn.policy.rules.handing_is_enough(turn.state.sightings[GROUPS + name].handed)
    if _barred(turn, name, mine, offered or handed):
        if mine:
            _give_back(turn, name, onward=not handed)  # or those who cannot serve would throw it to and fro
    elif _renewed(turn):
        if handed and _complete(turn, name):
            return _accept(turn, name)
        _take(turn, name, judge(name, turn.view(name)))
    return False


def _give_back(turn: Turn, name: str, *, onward: bool) -> None:
    if not _sits_out(turn, name):
        turn.put_group(name, sits_out_until=turn.now + turn.policy.timing.lease_duration)
    release(turn, name, onward=onward)


def _sits_out(turn: Turn, name: str) -> bool:
    return turn.policy.rules.sits_out(turn.groups[name].sits_out_until, turn.now)


def _complete(turn: Turn, name: str) -> bool:
    """Whether what was handed to us may be opened as it is: an answer proves it, and the record is as it should be."""
    seen, known = turn.state.sightings[GROUPS + name], turn.groups[name].epoch
    if not isinstance(seen.record, Ownership) or seen.record.from_session is not None:
        return False
    return seen.there_at > -inf and turn.policy.rules.grows(known, seen.record.epoch)


def _may_contest(turn: Turn, name: str) -> bool:
    group = turn.groups[name]
    if turn.state.phase is not Phase.MEMBER or not group.shut or group.owned is not None or group.leaving is not None:
        return False
    if turn.state.renewed is None or turn.busy(GROUPS + name) or not turn.due(turn.state.quarantine_until):
        return False
    # Nothing is taken, nor given away, before it is known whether we are fit.
    return group.role is not Role.INIT or name not in turn.policy.groups or turn.stopping


def _barred(turn: Turn, name: str, mine: bool, offered: bool) -> bool:
    """Unfit, going, or sitting out. Paused, only what is ours already is taken up again.

    What is offered or handed to it nobody sits out, unless it has just failed.
    """
    group = turn.groups[name]
    if turn.stopping or name not in turn.policy.groups:
        return True
    if group.role is Role.PAUSED:
        return not mine or group.healthy is False
    if group.role is not Role.STANDBY:
        return True
    if (group.failed or not offered) and _sits_out(turn, name):
        turn.wake(group.sits_out_until)
        return True
    return False


def _renewed(turn: Turn) -> bool:
    """What is taken on a session that is not proven any more could not be served."""
    renewed = turn.state.renewed
    assert renewed is not None
    return turn.now < renewed.at + turn.policy.timing.renew_deadline


def _accept(turn: Turn, name: str) -> bool:
    """It was handed to us. Once only: a later promotion has an epoch of its own."""
    state, seen = turn.state, turn.state.sightings[GROUPS + name]
    assert isinstance(seen.record, Ownership)
    assert seen.version is not None
    assert state.renewed is not None
    owned = Owned(seen.version, seen.record.epoch, seen.there_at)
    look = state.look or seen.there_at < state.renewed.started_at  # too old to be armed on: a listing will do
    turn.put(sightings={**state.sightings, GROUPS + name: replace(seen, handed=False)}, look=look)
    turn.put_group(name, owned=owned, epoch=owned.epoch, taken_as=Reason.HANDED, waits_for="")
    return True


def _take(turn: Turn, name: str, judgement: Judgement) -> None:
    turn.put_group(name, waits_for=judgement.why if judgement.verdict is Verdict.WAIT else "")
    turn.wake(judgement.at)
    if judgement.verdict is Verdict.FENCE:
        _fence(turn, judgement.key)
    elif judgement.verdict is Verdict.BEGIN:
        _begin(turn, name)
    elif judgement.verdict is Verdict.TAKE:
        record, version = turn.ownership(name)
        assert record is not None
        turn.put_group(name, taken_as=Reason(judgement.why))
        turn.write(GROUPS + name, Purpose.TAKE, _taken(turn, name, record), version)


def _taken(turn: Turn, name: str, record: Ownership) -> Ownership:
    epoch = max(record.epoch, turn.groups[name].epoch) + 1
    return next_record(
        record, turn.state.writer, session=turn.state.session, node=turn.policy.node,
        epoch=max(epoch, _first_epoch(turn, name)) if record.new else epoch,
        offered_to=None, wanted=None, after=None, new=False, from_session=None, go=None,
    )  # fmt: skip


def _begin(turn: Turn, name: str) -> None:
    """There is no record of the group: let there be one, to be watched."""
    rules, state, first = turn.policy.rules, turn.state, _first_epoch(turn, name)
    seq = max(first, state.gone.get(GROUPS + name, 0) + 1)
    record = Ownership(epoch=first - 1, seq=seq, new=True, writer=state.writer)
    if not rules.begins_unowned():
        record = _taken(turn, name, record)
    turn.write(GROUPS + name, Purpose.TAKE if record.session else Purpose.BEGIN, record, None)


def _first_epoch(turn: Turn, name: str) -> int:
    return turn.policy.rules.first_epoch(turn.groups[name].epoch, turn.now + turn.state.wall_offset)


def _fence(turn: Turn, key: str) -> None:
    """Its last word was this version; a missing or unreadable record is replaced by a fenced one."""
    seen = turn.state.sightings[key]
    if turn.busy(key):
        return
    record = seen.record if isinstance(seen.record, Session) else Session(node="")
    expected = None if seen.version is None else turn.policy.rules.fence_version(seen.version)
    turn.write(key, Purpose.FENCE, next_record(record, turn.state.writer, fenced=True), expected)


def release(turn: Turn, name: str, *, onward: bool = True) -> None:
    """Give the group to whom it is meant for, or to the next in rank; who was not heard of lately is offered it.

    Not `onward`: it is offered at best.
    """
    record, version = turn.ownership(name)
    group = turn.groups[name]
    ours = record is not None and record.session == turn.state.session
    may = ours and not turn.busy(GROUPS + name) and turn.policy.rules.may_release(group.shut)
    if record is None or not may:
        return
    successor = group.hand_to or best_fit(turn, name, None)
    node = None if successor is None or not onward else _brisk(turn, successor)
    given = next_record(
        record, turn.state.writer, wanted=None, node=node,
        session=successor if node else None,
        offered_to=None if node else successor,
        after=version if node else None,
        epoch=max(record.epoch, group.epoch) + bool(node),
    )  # fmt: skip
    turn.put_group(name, hand_to=None, owned=None)  # the grant is dropped, then the release leaves
    turn.write(GROUPS + name, Purpose.RELEASE, given, version)


def _brisk(turn: Turn, successor: SessionId) -> str | None:
    """The node of this session, if it was heard of within half a lease: a dead one must be watched for a whole one."""
    seen = turn.state.sightings.get(SESSIONS + successor)
    if seen is None or not isinstance(seen.record, Session) or seen.record.fenced:
        return None
    return seen.record.node if turn.now - seen.since < turn.policy.timing.lease_duration / 2 else None


# --- planned switchover ------------------------------------------------------------------------------------------


def ask_owner(turn: Turn, name: str) -> None:
    """Somebody asked this node for a switchover of a group that another owns: write it into the record."""
    group = turn.groups[name]
    record, version = turn.ownership(name)
    if group.ask is None or (GROUPS + name not in turn.state.sightings and not turn.due(group.ask.until)):
        return
    owner = None if record is None else record.session
    if record is None or owner is None or owner == turn.state.session or turn.due(group.ask.until):
        turn.put_group(name, ask=None)
    elif not turn.busy(GROUPS + name) and turn.state.phase is Phase.MEMBER and not turn.state.paused:
        wanted = Wanted(group.ask.to, record.epoch)
        turn.write(GROUPS + name, Purpose.WANT, next_record(record, turn.state.writer, wanted=wanted), version)


def wanted_by(turn: Turn, name: str) -> SessionId | None:
    """The session that the group we own is wanted by, if it is fit. A wish that can't be met is dropped, not kept."""
    group = turn.groups[name]
    record, version = turn.ownership(name)
    wish = group.ask.to if group.ask is not None else None
    written = record is not None and record.wanted is not None and record.wanted.epoch == group.epoch
    if group.ask is None and not written:
        return None
    if group.ask is None and record is not None and record.wanted is not None:
        wish = record.wanted.to
    target = best_fit(turn, name, wish)
    if target is not None:
        turn.put_group(name, ask=None)
        return target
    turn.put_group(name, ask=None)
    if written and record is not None and not turn.busy(GROUPS + name):
        turn.write(GROUPS + name, Purpose.WANT, next_record(record, turn.state.writer, wanted=None), version)
    return None


def preempt(turn: Turn, name: str) -> None:
    """A better node that has been fit for the delay asks for the group, as an operator would."""
    group, policy = turn.groups[name], turn.policy.groups[name]
    barred = group.failed and _sits_out(turn, name)
    if not policy.preempt or barred or not _outranks_owner(turn, name):
        if group.preempt_since is not None:
            turn.put_group(name, preempt_since=None)
        return
    since = turn.now if group.preempt_since is None else group.preempt_since
    if turn.due(since + policy.preempt_delay) and group.ask is None:
        again_at = turn.now + turn.policy.timing.lease_duration - policy.preempt_delay
        lease = turn.policy.timing.lease_duration
        turn.put_group(name, ask=Ask(turn.policy.node, turn.now + lease), preempt_since=again_at)
    elif group.preempt_since is None:
        turn.put_group(name, preempt_since=since)


def _outranks_owner(turn: Turn, name: str) -> bool:
    record, _ = turn.ownership(name)
    if record is None or record.session is None or turn.groups[name].role is not Role.STANDBY:
        return False
    seen = turn.state.sightings.get(SESSIONS + record.session)
    owner = seen.record if seen is not None and isinstance(seen.record, Session) else None
    member = owner.groups.get(name) if owner is not None and not owner.fenced else None
    return member is not None and member.serving > 0 and member.priority < turn.policy.groups[name].priority
