"""What an event changes in what the core knows. Records facts only; `controller.core.machine` draws the conclusions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from controller.core import events as ev
from controller.core.events import Step
from controller.core.listing import hinted
from controller.core.records import GROUPS
from controller.core.replies import failed, listed, refused, unsure, wrote
from controller.core.state import Ask, GroupState, Leaving, Phase, Policy, Reason, Role, State, with_group
from controller.core.values import replace


def observe(state: State, event: ev.Event, now: float, policy: Policy) -> State:
    """The state after this event, which arrived now."""
    after = _OBSERVERS[type(event)](state, event, now, policy)
    concerned = _concerned(state, event)
    if concerned is None or state.concerned is None:
        return replace(after, concerned=None)
    return replace(after, concerned=state.concerned | concerned)


def _concerned(state: State, event: ev.Event) -> frozenset[str] | None:
    """The groups that have to decide anew because of this event; None: all. What is just due wakes by itself."""
    match event:
        case ev.Ran() | ev.Judged() | ev.Asked() | ev.Drifted():
            return frozenset({event.group})
        case ev.Armed():
            return event.groups
        case ev.Wrote() if state.pending[event.request].key.startswith(GROUPS):
            return frozenset({state.pending[event.request].key.removeprefix(GROUPS)})
        case ev.Hint():
            return frozenset(key.removeprefix(GROUPS) for key in event.entries)
        case ev.TimerStarted() | ev.Tick() | ev.Failed() | ev.PauseAsked() | ev.GuardLost():
            return frozenset()
        case _:
            return None


# --- starting ----------------------------------------------------------------------------------------------------


def _started(state: State, event: ev.Started, now: float, policy: Policy) -> State:
    begun = replace(state, writer=event.writer, wall_offset=event.wall_offset, next_round_at=now)
    saved = event.saved
    if saved is None or saved.node != policy.node or saved.boot_id != policy.boot_id:
        past = frozenset() if saved is None else frozenset({saved.session})
        clears = policy.rules.clears_at_start()
        return replace(begun, phase=Phase.CLEARING if clears else Phase.CREATING, session=event.session, past=past)
    groups = {name: _found(name in event.open_groups, now, policy) for name in policy.groups}
    spare = 0 if event.open_slot is None else 1 - event.open_slot
    return replace(begun, phase=Phase.ADOPTING, session=saved.session, beat=saved.beat, spare_slot=spare, groups=groups)


def _found(open_: bool, now: float, policy: Policy) -> GroupState:
    adoptable = policy.rules.may_adopt(open_)
    return GroupState(since=now, opened=True, adoptable=adoptable, hooked=adoptable)


def _cleared(state: State, event: ev.Cleared, now: float, policy: Policy) -> State:
    if event.error is not None:
        return replace(state, clearing=False, next_round_at=now + policy.timing.retry_period)
    phase = Phase.CREATING if state.phase is Phase.CLEARING else state.phase
    return replace(state, clearing=False, phase=phase, next_round_at=now)


def _minted(state: State, event: ev.Minted, now: float, policy: Policy) -> State:
    never_landed = state.beat < 0  # a store that takes no writes is not asked without end
    begin_at = now + policy.timing.retry_period if never_landed else now
    return replace(
        state, phase=Phase.CREATING, session=event.session, minting=False, version=None, doubt=True, beat=-1,
        saved_beat=-1, seq=0, fresh=True, established=False, over=None, renewed=None, round=None,
        next_round_at=begin_at, look=True,
    )  # fmt: skip


# --- the guard ---------------------------------------------------------------------------------------------------


def _timer_started(state: State, event: ev.TimerStarted, now: float, policy: Policy) -> State:
    if state.round is None or state.round.sent or state.round.slot != event.slot:
        return state
    if event.error is not None:
        return replace(state, round=None, next_round_at=now + policy.timing.retry_period / 4)
    return replace(state, round=replace(state.round, timer_at=event.at))


def _armed(state: State, event: ev.Armed, now: float, policy: Policy) -> State:  # noqa: ARG001
    groups = dict(state.groups)
    for name in event.groups & groups.keys():
        group = groups[name]
        if event.error is None:
            groups[name] = replace(group, arming=False, armed=True)
        else:
            leaving = group.leaving or Leaving(Reason.STEP_FAILED, detail=event.error)
            groups[name] = replace(group, arming=False, leaving=leaving, error=event.error)
    return replace(state, groups=groups)


def _guard_lost(state: State, event: ev.GuardLost, now: float, policy: Policy) -> State:  # noqa: ARG001
    return replace(state, next_round_at=now)


def _ran(state: State, event: ev.Ran, now: float, policy: Policy) -> State:
    group = state.groups.get(event.group)
    if group is None or group.step is not event.step:
        return state  # superseded by a later step
    if event.step is Step.SHUT:
        return _shut(state, event, now, policy)
    changes: dict[str, Any] = {"step": None, "done": group.done | {event.step}, "error": event.error or ""}
    if event.error and event.step in (Step.BIND, Step.PROMOTE) and group.leaving is None:
        changes["leaving"] = Leaving(Reason.STEP_FAILED, detail=event.error)
    if event.step is Step.DEMOTE:
        changes["hooked"] = False
    if event.error and event.step is Step.REFRESH and group.role is Role.ACTIVE:
        changes |= {"refresh": True, "retry_at": now + policy.timing.retry_period}
    return with_group(state, event.group, **changes)


def _shut(state: State, event: ev.Ran, now: float, policy: Policy) -> State:
    if event.error is not None:  # not shut as far as we know: only its own end in the kernel is sure
        retry_at = now + policy.timing.retry_period / 4
        return with_group(state, event.group, step=None, error=event.error, retry_at=retry_at)
    return with_group(
        state, event.group, step=None, error="", opened=False, armed=False, armed_for=None, owned=None,
        expires_at=None, adoptable=False, done=state.groups[event.group].done | {Step.SHUT},
    )  # fmt: skip


# --- what people and checks say ----------------------------------------------------------------------------------


def _judged(state: State, event: ev.Judged, now: float, policy: Policy) -> State:  # noqa: ARG001
    changed = event.group in state.groups and state.groups[event.group].healthy != event.healthy
    state = with_group(state, event.group, healthy=event.healthy, why=event.why)
    return replace(state, next_round_at=now) if changed else state  # others learn of it from our beat


def _asked(state: State, event: ev.Asked, now: float, policy: Policy) -> State:
    return with_group(state, event.group, ask=Ask(event.to, now + 2 * policy.timing.lease_duration))


def _pause_asked(state: State, event: ev.PauseAsked, now: float, policy: Policy) -> State:  # noqa: ARG001
    """Whether that is so already is for a listing to say that was sent after this: another may just have decided."""
    return replace(state, want_paused=event.paused, asked_after=state.requests, look=True)


def _drifted(state: State, event: ev.Drifted, now: float, policy: Policy) -> State:  # noqa: ARG001
    group = state.groups.get(event.group)
    if group is None or group.role is not Role.ACTIVE:
        return state  # elsewhere nothing is bound that could be missing
    return with_group(state, event.group, refresh=True, announce=True)


def _stop(state: State, event: ev.Stop, now: float, policy: Policy) -> State:  # noqa: ARG001
    return replace(state, stop_by=now + 2 * policy.timing.lease_duration) if state.stop_by is None else state


def _tick(state: State, event: ev.Tick, now: float, policy: Policy) -> State:  # noqa: ARG001
    return state


_OBSERVERS: Mapping[type, Callable[[State, Any, float, Policy], State]] = {
    ev.Started: _started,
    ev.Minted: _minted,
    ev.Cleared: _cleared,
    ev.TimerStarted: _timer_started,
    ev.Armed: _armed,
    ev.GuardLost: _guard_lost,
    ev.Ran: _ran,
    ev.Wrote: wrote,
    ev.Refused: refused,
    ev.Unsure: unsure,
    ev.Failed: failed,
    ev.Listed: listed,
    ev.Judged: _judged,
    ev.Hint: hinted,
    ev.Asked: _asked,
    ev.PauseAsked: _pause_asked,
    ev.Drifted: _drifted,
    ev.Stop: _stop,
    ev.Tick: _tick,
}
