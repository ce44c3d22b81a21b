"""READ THIS FIRST. What a node is in each group, and every way from one role to the next. Pure.

`observe(state, event, now, policy)` records what happened; `decide(state, now, policy)` says what follows. Neither does
any I/O, reads a clock or rolls dice: the daemon turns the world into events and carries the actions out, and the
simulator does the same with a virtual world.

    take the group        swap its record to our session, epoch + 1; or its    STANDBY   -> PROMOTING
                          owner has handed it to us
    promote               bind, arm the guard, announce, promote hook          PROMOTING -> ACTIVE
    serve                 every round: renew, read, arm; refresh the addresses ACTIVE
    give up               503, demote hook, reset connections, shut, release   ACTIVE    -> DEMOTING -> at rest
    lose                  shut first, then the demote hook                     ACTIVE    -> DEMOTING -> at rest

A round (`controller.core.membership`) is what makes time: the guard's timer is started, then the renewal leaves; reply
and listing prove it, and the groups that the listing shows ours are armed in the timer's slot. Whatever stops this node
in between, the kernel ends what it serves `renew_deadline` after the last timer that was proven was started.

Not guaranteed: that a group always has an owner; what a node does whose clock's rate is off by more than `drift`, or
that was suspended together with its clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controller.core import grant, membership
from controller.core.campaign import ask_owner, contest, preempt, release, wanted_by
from controller.core.events import Step
from controller.core.observation import observe
from controller.core.state import (
    Decision,
    GroupPolicy,
    GroupState,
    Leaving,
    Phase,
    Policy,
    Reason,
    Role,
    State,
    Transition,
)
from controller.core.turn import Turn

__all__ = [
    "TRANSITIONS",
    "Decision",
    "GroupPolicy",
    "Phase",
    "Policy",
    "Reason",
    "Role",
    "State",
    "Transition",
    "decide",
    "initial",
    "observe",
    "serving_until",
]

_REST = frozenset({Role.INIT, Role.STANDBY, Role.FAULT, Role.PAUSED})
TRANSITIONS: Mapping[Role, frozenset[Role]] = {
    Role.INIT: frozenset({Role.STANDBY, Role.FAULT, Role.PAUSED, Role.PROMOTING, Role.ACTIVE, Role.DEMOTING}),
    Role.STANDBY: frozenset({Role.INIT, Role.FAULT, Role.PAUSED, Role.PROMOTING, Role.DEMOTING}),
    Role.FAULT: frozenset({Role.INIT, Role.STANDBY, Role.PAUSED, Role.PROMOTING, Role.DEMOTING}),
    Role.PAUSED: frozenset({Role.INIT, Role.STANDBY, Role.FAULT, Role.PROMOTING, Role.DEMOTING}),
    Role.PROMOTING: frozenset({Role.ACTIVE, Role.DEMOTING}),
    Role.ACTIVE: frozenset({Role.DEMOTING}),
    Role.DEMOTING: _REST,
}


def initial(policy: Policy) -> State:
    """The state before `Started`."""
    return State(groups={name: GroupState() for name in policy.groups})


def serving_until(state: State, group: str) -> float | None:
    """Until when this node may say 200 for the group; None when it may not."""
    known = state.groups.get(group)
    return known.expires_at if known is not None and known.role is Role.ACTIVE else None


def decide(state: State, now: float, policy: Policy) -> Decision:
    """What to do now, and when to think again."""
    turn = Turn(state, now, policy)
    if state.phase not in (Phase.INIT, Phase.GONE):
        membership.begin(turn)
        for name in policy.groups.keys() - turn.groups.keys():
            turn.groups[name] = GroupState(since=now, opened=True)
        for name in turn.concerned():
            turn.begin(name)
            _group(turn, name)
        turn.begin("")
        grant.arm(turn)
        membership.go_on(turn)
    return turn.decision()


def _group(turn: Turn, name: str) -> None:
    grant.update(turn, name)
    before = None
    while turn.groups[name].role is not before:  # a role that leads on at once is followed on at once
        before = turn.groups[name].role
        _ROLES[before](turn, name)
    gone = turn.groups[name].role in _REST and turn.groups[name].shut and name not in turn.policy.groups
    if gone and not turn.busy(f"groups/{name}") and not _names_us(turn, name):
        turn.forget(name)


def _names_us(turn: Turn, name: str) -> bool:
    record, _ = turn.ownership(name)
    return record is not None and record.session == turn.state.session and turn.state.session is not None


def _move(turn: Turn, name: str, after: Role, reason: Reason, detail: str = "") -> None:
    before = turn.groups[name].role
    assert after in TRANSITIONS[before], f"{name}: {before} -> {after} ({reason})"
    turn.record_transition(name, after, reason, detail)


# --- at rest -----------------------------------------------------------------------------------------------------


def _at_rest(turn: Turn, name: str) -> None:
    group = turn.groups[name]
    if group.leaving is not None:
        _move(turn, name, Role.DEMOTING, group.leaving.reason, group.leaving.detail)
        return
    if group.owned is not None:
        if turn.state.renewed is not None:  # adopted: not before this life has renewed the session itself
            _take_up(turn, name)
        return
    _shut_if_open(turn, name)
    after, reason, detail = _resting_role(turn, name)
    if after is not group.role:
        _move(turn, name, after, reason, detail)
        return
    if name in turn.policy.groups:
        preempt(turn, name)
    ask_owner(turn, name)
    if contest(turn, name):
        grant.update(turn, name)
        _take_up(turn, name)


def _take_up(turn: Turn, name: str) -> None:
    reason = turn.groups[name].taken_as
    turn.put_group(name, done=frozenset(), step=None, armed=False, error="")
    if reason is Reason.ADOPTED:
        turn.put_group(name, hooked=True, refresh=True, announce=True)
        _move(turn, name, Role.ACTIVE, reason)
    else:
        _move(turn, name, Role.PROMOTING, reason)


def _shut_if_open(turn: Turn, name: str) -> None:
    """Whatever may be open at rest is shut, but what waits to be adopted."""
    group = turn.groups[name]
    if group.opened and not group.arming and not group.adoptable and group.step is None and turn.due(group.retry_at):
        turn.run(name, Step.SHUT, group.role.value)


def _resting_role(turn: Turn, name: str) -> tuple[Role, Reason, str]:
    group, state = turn.groups[name], turn.state
    policy = turn.policy.groups.get(name)
    if state.phase is not Phase.MEMBER or policy is None or state.renewed is None or group.adoptable:
        return Role.INIT, state.over or Reason.STARTED, ""
    if turn.state.paused:
        return Role.PAUSED, Reason.PAUSED, ""
    if not state.established and membership.has_twin(turn):
        return Role.FAULT, Reason.DUPLICATE, f"another live session is named {turn.policy.node!r}"
    if policy.priority == 0:
        return Role.FAULT, Reason.NEVER_ACTIVE, ""
    if group.healthy is False:
        return Role.FAULT, Reason.UNHEALTHY, group.why
    if group.healthy is None or not state.established:
        return Role.INIT, Reason.STARTED, "no check has answered yet" if group.healthy is None else ""
    return Role.STANDBY, Reason.RESUMED if group.role is Role.PAUSED else Reason.HEALTHY, ""


# --- promoting and serving ---------------------------------------------------------------------------------------


def _promoting(turn: Turn, name: str) -> None:
    group = turn.groups[name]
    leaving = group.leaving or _why_leave(turn, name)
    if leaving is not None:
        _leave(turn, name, leaving)
    elif group.step is None:
        if Step.BIND not in group.done:
            turn.run(name, Step.BIND, group.taken_as.value)
        elif not group.armed:
            return
        elif Step.ANNOUNCE not in group.done:
            turn.run(name, Step.ANNOUNCE, group.taken_as.value)
        elif Step.PROMOTE not in group.done:
            turn.put_group(name, hooked=True)
            turn.run(name, Step.PROMOTE, group.taken_as.value)
        else:
            turn.put(next_round_at=turn.now)  # others learn from our beat that we serve
            _move(turn, name, Role.ACTIVE, Reason.READY)


def _active(turn: Turn, name: str) -> None:
    group = turn.groups[name]
    leaving = group.leaving or _why_leave(turn, name)
    if leaving is None and not turn.state.paused:
        target = wanted_by(turn, name)
        if target is not None:
            turn.put_group(name, hand_to=target)
            leaving = Leaving(Reason.SWITCHOVER, detail=target)
    if leaving is not None:
        _leave(turn, name, leaving)
    else:
        _keep(turn, name)


def _keep(turn: Turn, name: str) -> None:
    """Refresh after each round and on drift; announce when clients may have learnt another MAC."""
    group = turn.groups[name]
    renewed = turn.state.renewed
    if group.step is not None or renewed is None:
        return
    if (group.refresh or (group.armed and group.refreshed_for != renewed.started_at)) and turn.due(group.retry_at):
        turn.put_group(name, refresh=False, refreshed_for=renewed.started_at)
        turn.run(name, Step.REFRESH, "drift" if group.refresh else "renewed")
    elif group.announce and not group.refresh:
        turn.put_group(name, announce=False)
        turn.run(name, Step.ANNOUNCE, "contact-regained")


def _why_leave(turn: Turn, name: str) -> Leaving | None:
    group, policy = turn.groups[name], turn.policy.groups.get(name)
    if policy is None:
        return Leaving(Reason.REMOVED)
    if turn.state.paused:
        return None
    if turn.stopping:
        return Leaving(Reason.STOPPING)
    if policy.priority == 0:
        return Leaving(Reason.NEVER_ACTIVE)
    if group.healthy is False:
        return Leaving(Reason.UNHEALTHY, detail=group.why)
    return None


# --- demoting ----------------------------------------------------------------------------------------------------


def _leave(turn: Turn, name: str, leaving: Leaving) -> None:
    turn.put_group(name, leaving=leaving, done=frozenset(), refresh=False, announce=False, retry_at=0.0)
    if not leaving.lost:
        failed = leaving.reason is Reason.STEP_FAILED
        turn.put_group(name, failed=failed, sits_out_until=turn.now + turn.policy.timing.lease_duration)
    _move(turn, name, Role.DEMOTING, leaving.reason, leaving.detail)


def _demoting(turn: Turn, name: str) -> None:
    group, leaving = turn.groups[name], turn.groups[name].leaving
    assert leaving is not None
    release_now = not leaving.lost and not turn.state.over
    if release_now:
        release(turn, name)
    order = (Step.SHUT, Step.DEMOTE) if leaving.lost else (Step.DEMOTE, Step.RESET, Step.SHUT)
    left = [
        step
        for step in order
        if not (step is Step.DEMOTE and not group.hooked)
        and not (step is not Step.SHUT and step in group.done)
        and not (step is Step.SHUT and group.shut)
    ]
    if group.step in (Step.DEMOTE, Step.SHUT) or (group.step is Step.RESET and not leaving.lost):
        return
    if not left:
        _settle(turn, name, leaving)
    elif left[0] is not Step.SHUT or (not group.arming and turn.due(group.retry_at)):
        turn.run(name, left[0], leaving.reason.value)


def _settle(turn: Turn, name: str, leaving: Leaving) -> None:
    """Clean. Who gave the group up stays out of the next race for one lease."""
    out = turn.groups[name].sits_out_until if leaving.lost else turn.now + turn.policy.timing.lease_duration
    turn.put_group(name, leaving=None, step=None, done=frozenset(), sits_out_until=out, owned=None)
    after, reason, detail = _resting_role(turn, name)
    calm = reason in (Reason.HEALTHY, Reason.STARTED, Reason.RESUMED)
    _move(turn, name, after, Reason.RELEASED if calm and not leaving.lost else Reason.SHUT if calm else reason, detail)


_ROLES: Mapping[Role, Callable[[Turn, str], None]] = {
    Role.INIT: _at_rest,
    Role.STANDBY: _at_rest,
    Role.FAULT: _at_rest,
    Role.PAUSED: _at_rest,
    Role.PROMOTING: _promoting,
    Role.ACTIVE: _active,
    Role.DEMOTING: _demoting,
}
