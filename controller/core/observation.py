"""Records what an event changes in what the core knows. `controller.core.machine` draws the conclusions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from controller.core import events as ev
from controller.core.events import Step
from controller.core.group import Arming, Ask, Claim, Failure, GroupState, Leaving, Reason, Right, Role, Steps
from controller.core.listing import hear_hint
from controller.core.records import GROUPS, Cluster
from controller.core.replies import note_failure, note_listing, note_refusal, note_silence, note_write
from controller.core.state import OwnSession, PauseSeen, PauseWish, Phase, Policy, State
from controller.core.values import replace

_NEEDED = frozenset({Step.BIND, Step.PREPARE, Step.PROMOTE})  # the steps without which a group is not served


def observe(state: State, event: ev.Event, now: float, policy: Policy) -> State:
    """Returns the state after this event, which arrived now."""
    after = _OBSERVERS[type(event)](state, event, now, policy)
    before, concerned = state.agenda.concerned, _find_concerned(state, event)
    concerned = None if before is None or concerned is None else before | concerned
    return replace(after, agenda=replace(after.agenda, concerned=concerned))


def _find_concerned(state: State, event: ev.Event) -> frozenset[str] | None:
    """Returns the groups that this event makes decide anew; None means all. A group that is due wakes by itself."""
    match event:
        case ev.Ran() | ev.Judged() | ev.Asked() | ev.Drifted():
            return frozenset({event.group})
        case ev.Armed():
            return event.groups
        case ev.Wrote() if state.requests.pending[event.request].key.startswith(GROUPS):
            return frozenset({state.requests.pending[event.request].key.removeprefix(GROUPS)})
        case ev.Hint():
            return frozenset(key.removeprefix(GROUPS) for key in event.entries)
        case ev.Withdrawn():
            return frozenset() if event.group is None else frozenset({event.group})
        case ev.TimerStarted() | ev.Tick() | ev.PauseAsked() | ev.GuardLost():
            return frozenset()
        case _:
            return None


# --- starting ----------------------------------------------------------------------------------------------------


def _begin_life(state: State, event: ev.Started, now: float, policy: Policy) -> State:
    life = replace(state.life, writer=event.writer, wall_offset=event.wall_offset)
    saved = event.saved
    if saved is None or saved.node != policy.node or saved.boot_id != policy.boot_id:
        past = frozenset() if saved is None else frozenset({saved.session})
        phase = Phase.CLEARING if policy.rules.clears_at_start() else Phase.CREATING
        begun = replace(state, phase=phase, life=replace(life, past=past), session=OwnSession(event.session))
        return begun.with_round_at(now)
    groups = {name: _find_group(state, name, name in event.open_groups, now, policy) for name in policy.groups}
    spare = 0 if event.open_slot is None else 1 - event.open_slot
    return replace(
        state, phase=Phase.ADOPTING, life=life, session=OwnSession(saved.session, beat=saved.beat), groups=groups,
        rounds=replace(state.rounds, spare_slot=spare, next_at=now), pause_seen=_find_pause(saved),
    )  # fmt: skip


def _find_pause(saved: ev.Saved) -> PauseSeen:
    """Returns the pause that the earlier life saw. Its count goes on: the clock is the same."""
    return PauseSeen(saved.pause, saved.paused_at) if saved.pause else PauseSeen()


def _find_group(state: State, name: str, open_: bool, now: float, policy: Policy) -> GroupState:
    adoptable = policy.rules.may_adopt(open_)
    cleans = adoptable and policy.groups[name].cleanup
    right, steps = Right(adoptable=adoptable, found_at=now), Steps(hooked=adoptable, cleans=cleans)
    known = state.groups.get(name, GroupState())  # a check might have answered before the kernel did
    return replace(known, since=now, arming=Arming(opened=True), right=right, steps=steps)


def _note_clearing(state: State, event: ev.Cleared, now: float, policy: Policy) -> State:
    state = replace(state, life=replace(state.life, clearing=False))
    if event.error is not None:
        return state.with_round_at(now + policy.timing.retry_period)
    phase = Phase.CREATING if state.phase is Phase.CLEARING else state.phase
    return replace(state, phase=phase).with_round_at(now)


def _begin_session(state: State, event: ev.Minted, now: float, policy: Policy) -> State:
    never_landed = state.session.beat < 0  # do not write without pause to a store that takes no writes
    begin_at = now + policy.timing.retry_period if never_landed else now
    rounds = replace(state.rounds, current=None, renewed=None, next_at=begin_at)
    groups = {name: replace(group, claim=Claim()) for name, group in state.groups.items()}  # the new record is empty
    begun = replace(state, phase=Phase.CREATING, session=OwnSession(event.session), rounds=rounds, groups=groups)
    return begun.with_read_due()


# --- the guard ---------------------------------------------------------------------------------------------------


def _note_timer(state: State, event: ev.TimerStarted, now: float, policy: Policy) -> State:
    rounds, current = state.rounds, state.rounds.current
    if current is None or current.sent or current.slot != event.slot:
        return state
    if event.wall_offset is not None:
        state = replace(state, life=replace(state.life, wall_offset=event.wall_offset))
    if event.error is not None:
        retry_at = now + policy.timing.retry_period / 4
        return replace(state, rounds=replace(rounds, current=None, next_at=retry_at))
    return replace(state, rounds=replace(rounds, current=replace(current, timer_at=event.at)))


def _note_arming(state: State, event: ev.Armed, now: float, policy: Policy) -> State:  # noqa: ARG001
    groups = dict(state.groups)
    for name in event.groups & groups.keys():
        group = groups[name]
        if event.error is None:
            groups[name] = replace(group, arming=replace(group.arming, in_flight=False, confirmed=True))
        else:
            leaving = group.leaving or Leaving(Reason.STEP_FAILED, detail=event.error)
            arming, steps = replace(group.arming, in_flight=False), replace(group.steps, error=event.error)
            failure = Failure("arm", event.error, now)
            groups[name] = replace(group, arming=arming, leaving=leaving, steps=steps, failure=failure)
    return replace(state, groups=groups)


def _note_guard_loss(state: State, event: ev.GuardLost, now: float, policy: Policy) -> State:  # noqa: ARG001
    return state.with_round_at(now)


def _end_step(state: State, event: ev.Ran, now: float, policy: Policy) -> State:
    group = state.groups.get(event.group)
    if group is None or group.steps.running is not event.step:
        return state  # superseded by a later step
    if event.step is Step.SHUT:
        return state.with_group(event.group, _end_shut(group, event, now, policy))
    steps = replace(_note_duration(group, event), done=group.steps.done | {event.step})
    if event.step is Step.DEMOTE:
        steps = replace(steps, hooked=False)
    if event.step is Step.CLEANUP:
        steps = replace(steps, cleans=False)
    if event.error and event.step in _NEEDED and group.leaving is None:
        failure = Failure(event.step.value, event.error, now)
        group = replace(group, leaving=Leaving(Reason.STEP_FAILED, detail=event.error), failure=failure)
    if event.error and event.step in (Step.DEMOTE, Step.CLEANUP) and group.failure is None:
        group = replace(group, failure=Failure(event.step.value, event.error, now))
    if event.error and event.step is Step.REFRESH and group.role is Role.ACTIVE:
        group = replace(group, upkeep=replace(group.upkeep, refresh=True))
        steps = replace(steps, retry_at=now + policy.timing.retry_period)
    return state.with_group(event.group, replace(group, steps=steps))


def _note_duration(group: GroupState, event: ev.Ran) -> Steps:
    steps, step = group.steps, event.step.value
    took = steps.took if event.step is Step.REFRESH else {**steps.took, step: steps.took.get(step, 0.0) + event.seconds}
    return replace(steps, running=None, error=event.error or "", took=took)


def _end_shut(group: GroupState, event: ev.Ran, now: float, policy: Policy) -> GroupState:
    steps = _note_duration(group, event)
    if event.error is not None:  # it might be open until its timer in the kernel ends
        return replace(group, steps=replace(steps, retry_at=now + policy.timing.retry_period / 4))
    return replace(
        group,
        arming=Arming(in_flight=group.arming.in_flight),
        right=replace(group.right, owned=None, expires_at=None, adoptable=False),
        steps=replace(steps, done=steps.done | {Step.SHUT}),
    )


# --- what people and checks say ----------------------------------------------------------------------------------


def _note_health(state: State, event: ev.Judged, now: float, policy: Policy) -> State:  # noqa: ARG001
    group = state.groups.get(event.group)
    if group is None:
        return state
    state = state.with_group(event.group, replace(group, healthy=event.healthy, why=event.why))
    return state.with_round_at(now) if group.healthy != event.healthy else state  # our beat tells the other nodes


def _note_ask(state: State, event: ev.Asked, now: float, policy: Policy) -> State:
    group = state.groups.get(event.group)
    if group is None:
        return state
    ask = Ask(event.to, now + 2 * policy.timing.lease_duration, event.ticket, by=event.by)
    state = replace(state, wishes=replace(state.wishes, heard=max(state.wishes.heard, event.ticket)))
    return state.with_group(event.group, replace(group, campaign=replace(group.campaign, ask=ask)))


def _note_pause(state: State, event: ev.PauseAsked, now: float, policy: Policy) -> State:  # noqa: ARG001
    """Notes the wish. Only a listing sent after it can show what to do: another node might have just decided."""
    record = Cluster()
    if event.paused:
        pause = f"{state.life.writer}-{event.ticket}"
        record = Cluster(True, pause, event.lasts, event.by, policy.node, event.why, event.at)
    wish = PauseWish(record, event.ticket, state.requests.last)
    wishes = replace(state.wishes, pause=wish, heard=max(state.wishes.heard, event.ticket))
    return replace(state, wishes=wishes).with_read_due()


def _note_withdrawal(state: State, event: ev.Withdrawn, now: float, policy: Policy) -> State:  # noqa: ARG001
    state = replace(state, wishes=replace(state.wishes, withdrawn=max(state.wishes.withdrawn, event.ticket)))
    return _withdraw_pause(state, event) if event.group is None else _withdraw_switchover(state, event, event.group)


def _withdraw_pause(state: State, event: ev.Withdrawn) -> State:
    """Drops a pause of which nothing has been sent. Otherwise only a later listing shows what has become of it."""
    wish = state.wishes.pause
    if wish is None or wish.ticket != event.ticket:
        return state
    kept = replace(wish, withdrawn=True, asked_after=state.requests.last) if wish.sent else None
    return replace(state, wishes=replace(state.wishes, pause=kept)).with_read_due()


def _withdraw_switchover(state: State, event: ev.Withdrawn, name: str) -> State:
    """Drops a switchover. If another node owns the group, the record might contain it, or contain it later."""
    group = state.groups.get(name)
    if group is None or (group.campaign.ask is not None and group.campaign.ask.ticket != event.ticket):
        return state
    ours = group.role in (Role.PROMOTING, Role.ACTIVE, Role.DEMOTING)
    ask = None if ours else Ask(None, inf, event.ticket, withdrawn=True)
    return state.with_group(name, replace(group, campaign=replace(group.campaign, ask=ask))).with_read_due()


def _note_drift(state: State, event: ev.Drifted, now: float, policy: Policy) -> State:  # noqa: ARG001
    group = state.groups.get(event.group)
    if group is None or group.role is not Role.ACTIVE:
        return state  # in other roles, nothing that is bound could be missing
    return state.with_group(event.group, replace(group, upkeep=replace(group.upkeep, refresh=True, announce=True)))


def _note_stop(state: State, event: ev.Stop, now: float, policy: Policy) -> State:  # noqa: ARG001
    if state.stopping:
        return state
    return replace(state, wishes=replace(state.wishes, stop_by=now + 2 * policy.timing.lease_duration))


def _let_time_pass(state: State, event: ev.Tick, now: float, policy: Policy) -> State:  # noqa: ARG001
    return state


_OBSERVERS: Mapping[type, Callable[[State, Any, float, Policy], State]] = {
    ev.Started: _begin_life,
    ev.Minted: _begin_session,
    ev.Cleared: _note_clearing,
    ev.TimerStarted: _note_timer,
    ev.Armed: _note_arming,
    ev.GuardLost: _note_guard_loss,
    ev.Ran: _end_step,
    ev.Wrote: note_write,
    ev.Refused: note_refusal,
    ev.Unsure: note_silence,
    ev.Failed: note_failure,
    ev.Listed: note_listing,
    ev.Judged: _note_health,
    ev.Hint: hear_hint,
    ev.Asked: _note_ask,
    ev.PauseAsked: _note_pause,
    ev.Withdrawn: _note_withdrawal,
    ev.Drifted: _note_drift,
    ev.Stop: _note_stop,
    ev.Tick: _let_time_pass,
}
