"""Takes a group, gives it back or asks for it, through the group's record. Part of `decide`."""

from __future__ import annotations

from math import inf

from controller.core import claims
from controller.core.election import Judgement, Verdict, View, judge, judge_holder
from controller.core.group import Ask, GroupState, Leaving, Owned, Reason, Role
from controller.core.membership import best_fit
from controller.core.records import GROUPS, SESSIONS, Ownership, Session, SessionId, Wanted, next_record
from controller.core.rules import Rules
from controller.core.state import Phase, Policy, Purpose, State
from controller.core.story import end_session, explain_giving_back, tell_release, tell_taking
from controller.core.turn import Turn
from controller.core.values import replace


def contest(turn: Turn, name: str) -> bool:
    """Takes a group that is at rest and shut here if it is our turn, or gives it back if its record still names us.

    Returns whether the group is ours now without a write, because its owner handed it to us.
    """
    if not _may_contest(turn, name):
        return False
    session, rules = turn.state.session.id, turn.policy.rules
    record, _ = turn.state.ownership(name)
    mine = record is not None and record.session == session
    offered = record is not None and record.offered_to == session
    handed = mine and rules.handing_is_enough(turn.state.store.sightings[GROUPS + name].handed)
    barred = _is_barred(turn.state, turn.policy, name, mine=mine)
    if not barred and not claims.may_open(turn, name):
        if _waits_for_claim(turn, name, mine=mine):
            return False
        barred = True
    if not barred and _sits_this_out(turn.groups[name], offered or handed, turn.now, rules):
        turn.wake(turn.groups[name].campaign.sits_out_until)
        barred = True
    if barred:
        if mine:
            _give_back(turn, name, onward=not handed)  # or two unfit nodes would pass it back and forth
    elif turn.groups[name].campaign.heard == turn.state.requests.heard:
        _wait_for_listing(turn, name, mine=mine)
    elif _is_proven(turn.state, turn.now, turn.policy):
        if handed and _may_accept(turn.state, rules, name):
            return _accept(turn, name)
        _take(turn, name, judge(name, _make_view(turn.state, turn.now, turn.policy, name)))
    return False


def _may_contest(turn: Turn, name: str) -> bool:
    """Returns whether the group's record may be written now, and whether it is known if we are fit."""
    if not _may_write(turn.state, name) or turn.busy(GROUPS + name):
        return False
    return turn.due_or_wake(turn.state.store.quarantine_until) and _knows_fitness(turn.state, turn.policy, name)


def _waits_for_claim(turn: Turn, name: str, *, mine: bool) -> bool:
    """Contends for a group whose claim is not clear. Returns whether it is ours, and a listing will soon clear it."""
    _contend(turn, name)
    if not mine or turn.groups[name].claim.blocked:
        return False
    _wait_for_listing(turn, name, mine=mine)
    return True


def _contend(turn: Turn, name: str) -> None:
    """Prepares to take a group once our claim is clear: creates its record, and fences silent sessions in our way."""
    if not _is_proven(turn.state, turn.now, turn.policy):
        return
    judgement = judge(name, _make_view(turn.state, turn.now, turn.policy, name))
    turn.wake(judgement.at)
    if judgement.verdict is Verdict.BEGIN:
        _begin(turn, name)
    fence_silent(turn, name)


def fence_silent(turn: Turn, name: str) -> None:
    """Fences silent sessions that claim what the group is to move: nobody else would, while they own no group."""
    new = turn.policy.groups[name].claims - turn.groups[name].claim.clear
    if not new or not _is_proven(turn.state, turn.now, turn.policy):
        return
    view = _make_view(turn.state, turn.now, turn.policy, name)
    for blocker in claims.find_blockers(turn.state, turn.policy, name, new):
        judgement = None if blocker.session is None else judge_holder(blocker.session, 0.0, view)
        if judgement is not None:
            turn.wake(judgement.at)
            if judgement.verdict is Verdict.FENCE:
                _fence(turn, judgement.key)


def _may_write(state: State, name: str) -> bool:
    group = state.groups[name]
    free = group.arming.shut and group.right.owned is None and group.leaving is None
    return free and state.phase is Phase.MEMBER and state.rounds.renewed is not None


def _knows_fitness(state: State, policy: Policy, name: str) -> bool:
    """Returns whether it is known if we are fit. Until then, a group is neither taken nor given back."""
    return state.groups[name].role is not Role.INIT or name not in policy.groups or state.stopping


def _is_barred(state: State, policy: Policy, name: str, *, mine: bool) -> bool:
    """Returns whether this node is unfit or leaving. In a paused cluster, it takes up only what is already its own."""
    group = state.groups[name]
    if state.stopping or name not in policy.groups:
        return True
    if group.role is Role.PAUSED:
        return not mine or group.healthy is False
    return group.role is not Role.STANDBY


def _sits_this_out(group: GroupState, given: bool, now: float, rules: Rules) -> bool:
    """Returns whether this node sits the race out. It accepts what is `given` to it, unless it has just failed."""
    return group.role is Role.STANDBY and (group.campaign.failed or not given) and _sits_out(group, now, rules)


def _sits_out(group: GroupState, now: float, rules: Rules) -> bool:
    return rules.sits_out(group.campaign.sits_out_until, now)


def _give_back(turn: Turn, name: str, *, onward: bool) -> None:
    group = turn.groups[name]
    if not _sits_out(group, turn.now, turn.policy.rules):
        until = turn.now + turn.policy.timing.lease_duration
        turn.put_group(name, campaign=replace(group.campaign, sits_out_until=until))
    release(turn, name, explain_giving_back(turn, name), onward=onward)


def _wait_for_listing(turn: Turn, name: str, *, mine: bool) -> None:
    """Takes nothing back before a listing is answered: without listings, the new grant would end as the last one did.

    If only reading fails, our renewals keep the other nodes from fencing us. The group is then given back.
    """
    _note_wait(turn, name, "store-not-read")
    if mine and turn.state.store.unread and not turn.state.paused:
        _give_back(turn, name, onward=False)


def _is_proven(state: State, now: float, policy: Policy) -> bool:
    """Returns whether the last renewal still counts. Without it, a group that was taken could not be served."""
    renewed = state.rounds.renewed
    assert renewed is not None
    return now < renewed.at + policy.timing.renew_deadline


def _make_view(state: State, now: float, policy: Policy, name: str) -> View:
    """Returns the facts that a judgement about the group rests on."""
    session, life = state.session.id, state.life
    assert session is not None
    return View(
        session, life.writer, life.past, state.store.sightings, now, state.store.answered_at,
        policy.timing, policy.rules,        policy.groups[name].priority, policy.node,
    )  # fmt: skip


def _may_accept(state: State, rules: Rules, name: str) -> bool:
    """Returns whether a handed group can be opened without a rewrite: an answer proves it, and its epoch is sound."""
    seen, known = state.store.sightings[GROUPS + name], state.groups[name].epoch
    return isinstance(seen.record, Ownership) and seen.there_at > -inf and rules.grows(known, seen.record.epoch)


def _accept(turn: Turn, name: str) -> bool:
    """Accepts a group that was handed to us. This works once: a later promotion needs an epoch of its own."""
    store, group, renewed = turn.state.store, turn.groups[name], turn.state.rounds.renewed
    seen = store.sightings[GROUPS + name]
    assert isinstance(seen.record, Ownership)
    assert seen.version is not None
    assert renewed is not None
    turn.put(store=replace(store, sightings={**store.sightings, GROUPS + name: replace(seen, handed=False)}))
    if seen.there_at < renewed.started_at:  # too old for arming: a listing has to confirm it
        turn.put(requests=replace(turn.state.requests, read_due=True))
    owned = Owned(seen.version, seen.record.epoch, seen.there_at)
    turn.put_group(
        name,
        epoch=owned.epoch,
        right=replace(group.right, owned=owned, taken_as=Reason.HANDED),
        campaign=replace(group.campaign, waits_for=""),
    )
    return True


def _take(turn: Turn, name: str, judgement: Judgement) -> None:
    group = turn.groups[name]
    _note_wait(turn, name, judgement.why if judgement.verdict is Verdict.WAIT else "")
    turn.wake(judgement.at)
    if judgement.verdict is Verdict.FENCE:
        _fence(turn, judgement.key)
    elif judgement.verdict is Verdict.BEGIN:
        _begin(turn, name)
    elif judgement.verdict is Verdict.TAKE:
        record, version = turn.state.ownership(name)
        assert record is not None
        turn.put_group(name, right=replace(group.right, taken_as=Reason(judgement.why)))
        turn.write(GROUPS + name, Purpose.TAKE, _claim(turn.state, turn.now, turn.policy, name, record), version)


def _note_wait(turn: Turn, name: str, waits_for: str) -> None:
    campaign = turn.groups[name].campaign
    if waits_for != campaign.waits_for:
        turn.put_group(name, campaign=replace(campaign, waits_for=waits_for))


def _claim(state: State, now: float, policy: Policy, name: str, record: Ownership) -> Ownership:
    """Returns the record that makes the group ours."""
    epoch = max(record.epoch, state.groups[name].epoch) + 1
    return next_record(
        record, state.life.writer, session=state.session.id, node=policy.node,
        epoch=max(epoch, _find_first_epoch(state, now, policy.rules, name)) if record.new else epoch,
        offered_to=None, wanted=None, after=None, new=False, change=tell_taking(state, now, policy, name, record),
    )  # fmt: skip


def _begin(turn: Turn, name: str) -> None:
    """Creates the missing record of a group. The new record is then watched for a lease."""
    rules, state = turn.policy.rules, turn.state
    first = _find_first_epoch(state, turn.now, rules, name)
    seq = max(first, state.store.gone.get(GROUPS + name, 0) + 1)
    record = Ownership(epoch=first - 1, seq=seq, new=True, writer=state.life.writer)
    if not rules.begins_unowned():
        record = _claim(state, turn.now, turn.policy, name, record)
    turn.write(GROUPS + name, Purpose.TAKE if record.session else Purpose.BEGIN, record, None)


def _find_first_epoch(state: State, now: float, rules: Rules, name: str) -> int:
    return rules.first_epoch(state.groups[name].epoch, now + state.life.wall_offset)


def _fence(turn: Turn, key: str) -> None:
    """Fences the session at the version that was watched. A missing or unreadable record becomes a fenced one."""
    seen = turn.state.store.sightings[key]
    if turn.busy(key):
        return
    record = seen.record if isinstance(seen.record, Session) else Session(node="")
    expected = None if seen.version is None else turn.policy.rules.fence_version(seen.version)
    past = key.removeprefix(SESSIONS) in turn.state.life.past
    why = "earlier-life" if past else "missing" if seen.version is None else "silent"
    ended = end_session(turn.state, turn.policy, turn.now, why, None if past else seen.since)
    fenced = next_record(record, turn.state.life.writer, fenced=True, ended=ended)
    turn.write(key, Purpose.FENCE, fenced, expected)


def release(turn: Turn, name: str, why: Leaving, *, onward: bool = True) -> None:
    """Hands the group to the session it is meant for, or else to the next in rank. `why` is told in the record.

    A session that was not heard of lately is only offered the group. Without `onward`, the group is never handed over,
    only offered.
    """
    state, policy, group = turn.state, turn.policy, turn.groups[name]
    record, version = state.ownership(name)
    ours = record is not None and record.session == state.session.id
    may = ours and not turn.busy(GROUPS + name) and policy.rules.may_release(group.arming.shut)
    if record is None or not may:
        return
    successor = group.campaign.hand_to or best_fit(state, turn.now, policy, name, None)
    node = None if successor is None or not onward else _find_node(state, turn.now, policy, successor)
    given = next_record(
        record, state.life.writer, wanted=None, node=node,
        session=successor if node else None,
        offered_to=None if node else successor,
        after=version if node else None,
        epoch=max(record.epoch, group.epoch) + bool(node),
        change=tell_release(state, turn.now, policy, name, why),
    )  # fmt: skip
    right, campaign = replace(group.right, owned=None), replace(group.campaign, hand_to=None)
    turn.put_group(name, right=right, campaign=campaign)  # drop the grant before the release leaves
    turn.write(GROUPS + name, Purpose.RELEASE, given, version)


def _find_node(state: State, now: float, policy: Policy, session: SessionId) -> str | None:
    """Returns the session's node if it was heard of within half a lease: a dead owner costs a whole lease."""
    seen = state.store.sightings.get(SESSIONS + session)
    if seen is None or not isinstance(seen.record, Session) or seen.record.fenced:
        return None
    return seen.record.node if now - seen.since < policy.timing.lease_duration / 2 else None


# --- planned switchover ------------------------------------------------------------------------------------------


def ask_owner(turn: Turn, name: str) -> None:
    """Writes a switchover that this node was asked for into the record of the group, which another session owns."""
    state, ask = turn.state, turn.groups[name].campaign.ask
    record, version = state.ownership(name)
    if ask is not None and ask.withdrawn:
        _take_back_ask(turn, name)
        return
    if ask is None or (GROUPS + name not in state.store.sightings and not turn.due_or_wake(ask.until)):
        return
    owner = None if record is None else record.session
    if record is None or owner is None or owner == state.session.id or turn.due_or_wake(ask.until):
        _drop_ask(turn, name)
    elif not turn.busy(GROUPS + name) and state.phase is Phase.MEMBER and not state.paused:
        asked = next_record(record, state.life.writer, wanted=Wanted(ask.to, record.epoch, ask.by))
        turn.write(GROUPS + name, Purpose.WANT, asked, version)


def _take_back_ask(turn: Turn, name: str) -> None:
    """Rewrites the group's record without our request, so that a late copy of the request cannot land either."""
    state, key = turn.state, GROUPS + name
    record, version = state.ownership(name)
    if turn.busy(key) or key not in state.store.sightings or state.phase is not Phase.MEMBER:
        return
    if record is None or record.session in (None, state.session.id):
        _drop_ask(turn, name)  # whoever takes the group writes a record without requests
        return
    wanted = None if record.writer == state.life.writer else record.wanted  # another operator's request stays
    turn.write(key, Purpose.WANT, next_record(record, state.life.writer, wanted=wanted), version)


def _drop_ask(turn: Turn, name: str) -> None:
    turn.put_group(name, campaign=replace(turn.groups[name].campaign, ask=None))


def meet_wish(turn: Turn, name: str) -> SessionId | None:
    """Returns the fit session that our group is to be switched over to, if any. Drops a wish that cannot be met."""
    group = turn.groups[name]
    record, version = turn.state.ownership(name)
    ask = group.campaign.ask
    wanted = None if record is None or record.wanted is None else record.wanted
    written = wanted is not None and wanted.epoch == group.epoch
    if ask is not None and ask.withdrawn:
        _drop_ask(turn, name)  # we have taken the group meanwhile, by a record without requests
        ask = None
    wish: Ask | Wanted | None = ask or (wanted if written else None)
    if wish is None:
        return None
    target = best_fit(turn.state, turn.now, turn.policy, name, wish.to)
    _drop_ask(turn, name)
    turn.put_group(name, tale=replace(group.tale, asked_by=wish.by))
    if target is None and written and record is not None and not turn.busy(GROUPS + name):
        unwanted = next_record(record, turn.state.life.writer, wanted=None)
        turn.write(GROUPS + name, Purpose.WANT, unwanted, version)
    return target


def preempt(turn: Turn, name: str) -> None:
    """Asks for the group, as an operator would, once this node has outranked the owner for the preemption delay."""
    group, policy, lease = turn.groups[name], turn.policy.groups[name], turn.policy.timing.lease_duration
    campaign = group.campaign
    barred = campaign.failed and _sits_out(group, turn.now, turn.policy.rules)
    if not policy.preempt or barred or not _outranks_owner(turn.state, policy.priority, name):
        if campaign.preempt_since is not None:
            turn.put_group(name, campaign=replace(campaign, preempt_since=None))
        return
    since = turn.now if campaign.preempt_since is None else campaign.preempt_since
    if turn.due_or_wake(since + policy.preempt_delay) and campaign.ask is None:
        by = f"{turn.policy.node}, whose priority is higher"
        ask, again_at = Ask(turn.policy.node, turn.now + lease, by=by), turn.now + lease - policy.preempt_delay
        turn.put_group(name, campaign=replace(campaign, ask=ask, preempt_since=again_at))
    elif campaign.preempt_since is None:
        turn.put_group(name, campaign=replace(campaign, preempt_since=since))


def _outranks_owner(state: State, priority: int, name: str) -> bool:
    record, _ = state.ownership(name)
    if record is None or record.session is None or state.groups[name].role is not Role.STANDBY:
        return False
    seen = state.store.sightings.get(SESSIONS + record.session)
    owner = seen.record if seen is not None and isinstance(seen.record, Session) else None
    member = owner.groups.get(name) if owner is not None and not owner.fenced else None
    return member is not None and member.serving > 0 and member.priority < priority
