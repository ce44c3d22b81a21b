"""READ THIS FIRST. Decides a node's role in each group, and every change from one role to the next. Pure.

`observe(state, event, now, policy)` records what happened. `decide(state, now, policy)` returns what follows from it.
Neither does I/O, reads a clock or uses randomness. The daemon turns the world into events and carries out the actions;
the simulator does the same with a virtual world.

    take the group        swap its record to our session, with epoch + 1;      STANDBY   -> PROMOTING
                          or accept a handover from its owner
    promote               bind, run the prepare hook, arm the guard,           PROMOTING -> ACTIVE
                          announce, run the promote hook
    serve                 each round: renew, list, arm, refresh the addresses  ACTIVE
    give up               answer 503, run the demote hook, reset connections,  ACTIVE    -> DEMOTING -> at rest
                          shut the guard, run the cleanup hook,
                          release the group
    lose                  shut the guard, then run the demote hook and the     ACTIVE    -> DEMOTING -> at rest
                          cleanup hook

A round (`controller.core.membership`) extends the grants. It starts a timer of the guard, then sends the renewal and a
listing. When both are answered, the groups that the listing shows as ours are armed in the timer's slot. If the
daemon stops at any point, the kernel still ends the traffic, `renew_deadline` after the start of the last armed timer.

This module makes all changes of role, and asserts that each one is in `TRANSITIONS`. Other modules supply the causes:

- `GroupState.leaving` makes `decide` give a group up. `observation` sets it when a step or an arming fails, `listing`
  when the record names another session or is gone, and `grant` when the grant or the session has ended.
- `GroupState.right.owned` makes `decide` take up a group at rest. `replies` and `listing` set it, and `campaign` sets
  it for a handover.

Two things are not guaranteed. A group may have no owner for a while. A node may behave in any way if the rate of its
clock is off by more than `drift`, or if the node was suspended together with its clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controller.core import claims, grant, membership, story, trouble
from controller.core.campaign import ask_owner, contest, fence_silent, meet_wish, preempt, release
from controller.core.events import Step
from controller.core.group import AT_REST, Arming, GroupPolicy, GroupState, Leaving, Reason, Role, Transition
from controller.core.observation import observe
from controller.core.state import Decision, Phase, Policy, State
from controller.core.turn import Turn
from controller.core.values import replace

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

TRANSITIONS: Mapping[Role, frozenset[Role]] = {
    Role.INIT: frozenset({Role.STANDBY, Role.FAULT, Role.PAUSED, Role.PROMOTING, Role.ACTIVE, Role.DEMOTING}),
    Role.STANDBY: frozenset({Role.INIT, Role.FAULT, Role.PAUSED, Role.PROMOTING, Role.DEMOTING}),
    Role.FAULT: frozenset({Role.INIT, Role.STANDBY, Role.PAUSED, Role.PROMOTING, Role.DEMOTING}),
    Role.PAUSED: frozenset({Role.INIT, Role.STANDBY, Role.FAULT, Role.PROMOTING, Role.DEMOTING}),
    Role.PROMOTING: frozenset({Role.ACTIVE, Role.DEMOTING}),
    Role.ACTIVE: frozenset({Role.DEMOTING}),
    Role.DEMOTING: AT_REST,
}


def initial(policy: Policy) -> State:
    """Returns the state before `Started`."""
    return State(groups={name: GroupState() for name in policy.groups})


def serving_until(state: State, group: str) -> float | None:
    """Returns until when this node is allowed to answer 200 for the group, or None when it is not."""
    known = state.groups.get(group)
    return known.right.expires_at if known is not None and known.role is Role.ACTIVE else None


def decide(state: State, now: float, policy: Policy) -> Decision:
    """Returns what to do now, and when to decide again."""
    turn = Turn(state, now, policy)
    if state.phase in (Phase.INIT, Phase.GONE):
        return turn.decision()
    membership.begin(turn)
    phase = turn.state.phase
    for name in policy.groups.keys() - turn.groups.keys():
        turn.groups[name] = GroupState(since=now, arming=Arming(opened=True))
    if state.agenda.decided_by is not policy:
        trouble.forget_all(turn)
    for name in turn.list_concerned():
        turn.begin(name)
        undo = turn.mark(name)
        try:
            _decide_group(turn, name)
        except Exception as error:  # noqa: BLE001  (one group's error must not stop the others)
            undo()
            trouble.contain(turn, name, error, _move)
    turn.begin("")
    claims.update_blocked(turn)
    grant.arm(turn)
    membership.go_on(turn)
    return turn.decision(all_next=turn.state.phase is not phase)


def _decide_group(turn: Turn, name: str) -> None:
    if trouble.settle(turn, name):
        return
    grant.update(turn, name)
    before = None
    while turn.groups[name].role is not before:  # a new role can have something to decide right away
        before = turn.groups[name].role
        _ROLES[before](turn, name)
    claims.update(turn, name)
    group = turn.groups[name]
    gone = group.role in AT_REST and group.arming.shut and name not in turn.policy.groups
    if gone and not turn.busy(f"groups/{name}") and not turn.state.names_us(name):
        turn.forget(name)


def _move(turn: Turn, name: str, after: Role, reason: Reason, detail: str = "") -> None:
    before = turn.groups[name].role
    assert after in TRANSITIONS[before], f"{name}: {before} -> {after} ({reason})"
    turn.record_transition(name, after, reason, detail)


# --- at rest -----------------------------------------------------------------------------------------------------


def _rest(turn: Turn, name: str) -> None:
    group = turn.groups[name]
    if group.leaving is not None:
        _move(turn, name, Role.DEMOTING, group.leaving.reason, group.leaving.detail)
        return
    if group.right.owned is not None:
        if turn.state.rounds.renewed is not None:  # an adopted group waits until this life has renewed the session
            _take_up(turn, name)
        return
    _shut_if_open(turn, name)
    after, reason, detail = _choose_rest(turn.state, turn.now, turn.policy, name)
    if after is not group.role:
        _move(turn, name, after, reason, detail)
        return
    if name in turn.policy.groups and group.trouble is None:
        preempt(turn, name)
    ask_owner(turn, name)
    if contest(turn, name):
        grant.update(turn, name)
        _take_up(turn, name)


def _take_up(turn: Turn, name: str) -> None:
    group = turn.groups[name]
    reason, adopted = group.right.taken_as, group.right.taken_as is Reason.ADOPTED
    hooked = group.steps.hooked or adopted
    steps = replace(group.steps, running=None, done=frozenset(), error="", hooked=hooked, took={})
    turn.put_group(name, steps=steps, arming=replace(group.arming, confirmed=False))
    if adopted:
        turn.put_group(name, upkeep=replace(group.upkeep, refresh=True, announce=True))
        story.note_adopted(turn, name)
    _move(turn, name, Role.ACTIVE if adopted else Role.PROMOTING, reason)


def _shut_if_open(turn: Turn, name: str) -> None:
    """Shuts a group at rest that might be open, unless it waits to be adopted."""
    group = turn.groups[name]
    open_ = not group.arming.shut and not group.arming.in_flight and not group.right.adoptable
    if open_ and group.steps.running is None and turn.due_or_wake(group.steps.retry_at):
        turn.run(name, Step.SHUT, group.role.value)


def _choose_rest(state: State, now: float, policy: Policy, name: str) -> tuple[Role, Reason, str]:
    """Returns the role at rest that the group belongs in, the reason and a detail."""
    group, own = state.groups[name], policy.groups.get(name)
    if group.trouble is not None:
        return Role.FAULT, Reason.INTERNAL, group.trouble.detail
    if state.phase is not Phase.MEMBER or own is None or state.rounds.renewed is None or group.right.adoptable:
        return Role.INIT, state.session.over or (Reason.STOPPING if state.stopping else Reason.STARTED), ""
    if state.paused:
        return Role.PAUSED, Reason.PAUSED, ""
    if not state.session.established and membership.has_twin(state, now, policy):
        return Role.FAULT, Reason.DUPLICATE, f"another live session is named {policy.node!r}"
    if own.priority == 0:
        return Role.FAULT, Reason.NEVER_ACTIVE, ""
    if group.healthy is False:
        return Role.FAULT, Reason.UNHEALTHY, group.why
    if group.healthy is None or not state.session.established:
        return Role.INIT, Reason.STARTED, "no check has answered yet" if group.healthy is None else ""
    return Role.STANDBY, Reason.RESUMED if group.role is Role.PAUSED else Reason.HEALTHY, ""


# --- promoting and serving ---------------------------------------------------------------------------------------


def _promote(turn: Turn, name: str) -> None:
    group = turn.groups[name]
    steps, reason = group.steps, group.right.taken_as.value
    leaving = group.leaving or _why_leave(turn, name)
    if leaving is not None:
        _leave(turn, name, leaving)
    elif steps.running is None:
        if Step.BIND not in steps.done:
            turn.put_group(name, arming=replace(group.arming, bound=True))
            turn.run(name, Step.BIND, reason)
        elif group.must_prepare(turn.policy.groups.get(name)):
            turn.groups[name] = group.with_hook_called(turn.policy.groups.get(name))
            turn.run(name, Step.PREPARE, reason)
        elif not group.arming.confirmed:
            return
        elif Step.ANNOUNCE not in steps.done:
            turn.run(name, Step.ANNOUNCE, reason)
        elif Step.PROMOTE not in steps.done:
            turn.groups[name] = group.with_hook_called(turn.policy.groups.get(name))
            turn.run(name, Step.PROMOTE, reason)
        else:
            turn.begin_round_now()  # our beat tells the other nodes that we serve
            story.note_serving(turn, name)
            turn.put_group(name, failure=None)
            _move(turn, name, Role.ACTIVE, Reason.READY)


def _serve(turn: Turn, name: str) -> None:
    leaving = turn.groups[name].leaving or _why_leave(turn, name)
    if leaving is None and not turn.state.paused:
        fence_silent(turn, name)
        target = meet_wish(turn, name)
        if target is not None:
            turn.put_group(name, campaign=replace(turn.groups[name].campaign, hand_to=target))
            leaving = Leaving(Reason.SWITCHOVER, detail=target)
    if leaving is not None:
        _leave(turn, name, leaving)
    else:
        _keep(turn, name)


def _keep(turn: Turn, name: str) -> None:
    """Refreshes the addresses after each round and on drift; announces them if clients might know another MAC."""
    group, renewed = turn.groups[name], turn.state.rounds.renewed
    upkeep = group.upkeep
    if group.steps.running is not None or renewed is None:
        return
    refresh = upkeep.refresh or (group.arming.confirmed and upkeep.renewal != renewed.started_at)
    if refresh and turn.due_or_wake(group.steps.retry_at):
        turn.put_group(name, upkeep=replace(upkeep, refresh=False, renewal=renewed.started_at))
        turn.run(name, Step.REFRESH, "drift" if upkeep.refresh else "renewed")
    elif upkeep.announce and not upkeep.refresh:
        turn.put_group(name, upkeep=replace(upkeep, announce=False))
        turn.run(name, Step.ANNOUNCE, "contact-regained")


def _why_leave(turn: Turn, name: str) -> Leaving | None:
    state, policy = turn.state, turn.policy
    group, own = state.groups[name], policy.groups.get(name)
    if own is None:
        return Leaving(Reason.REMOVED)
    if not policy.rules.needs_clear(own.uses, group.claim.clear):  # edited while the write that took it was on its way
        return Leaving(Reason.CLAIMED, detail=group.claim.blocked)
    if state.paused:
        return None
    if state.stopping:
        return Leaving(Reason.STOPPING)
    if own.priority == 0:
        return Leaving(Reason.NEVER_ACTIVE)
    if group.healthy is False:
        return Leaving(Reason.UNHEALTHY, detail=group.why)
    if claims.is_in_the_way(turn, name):
        return Leaving(Reason.CLAIMED, detail=group.claim.blocked)
    return None


# --- demoting ----------------------------------------------------------------------------------------------------


def _leave(turn: Turn, name: str, leaving: Leaving) -> None:
    group = turn.groups[name]
    campaign = group.campaign
    if not leaving.lost and leaving.reason is not Reason.CLAIMED:
        failed, until = leaving.reason is Reason.STEP_FAILED, turn.now + turn.policy.timing.lease_duration
        campaign = replace(campaign, failed=failed, sits_out_until=until)
    story.note_leaving(turn, name, leaving)
    turn.put_group(
        name,
        leaving=leaving,
        campaign=campaign,
        steps=replace(group.steps, done=frozenset(), retry_at=0.0, took={}),
        upkeep=replace(group.upkeep, refresh=False, announce=False),
    )
    _move(turn, name, Role.DEMOTING, leaving.reason, leaving.detail)


def _demote(turn: Turn, name: str) -> None:
    leaving = turn.groups[name].leaving
    assert leaving is not None
    if not leaving.lost and not turn.state.session.over and not turn.groups[name].steps.cleans:
        release(turn, name, leaving)
    group = turn.groups[name]
    running, left = group.steps.running, group.list_steps_left(lost=leaving.lost)
    if running in (Step.DEMOTE, Step.SHUT, Step.CLEANUP) or (running is Step.RESET and not leaving.lost):
        return
    if not left:
        _settle(turn, name, leaving)
    elif left[0] is not Step.SHUT or (not group.arming.in_flight and turn.due_or_wake(group.steps.retry_at)):
        turn.run(name, left[0], leaving.reason.value)


def _settle(turn: Turn, name: str, leaving: Leaving) -> None:
    """Puts a demoted group to rest. A node that gave it up stays out of the next race for one lease."""
    group = turn.groups[name]
    stays_in = leaving.lost or leaving.reason is Reason.CLAIMED  # then its claim keeps it out for as long as it must
    out = group.campaign.sits_out_until if stays_in else turn.now + turn.policy.timing.lease_duration
    steps, right = replace(group.steps, running=None, done=frozenset()), replace(group.right, owned=None)
    campaign = replace(group.campaign, sits_out_until=out)
    turn.put_group(name, leaving=None, steps=steps, right=right, campaign=campaign)
    after, reason, detail = _choose_rest(turn.state, turn.now, turn.policy, name)
    calm = reason in (Reason.HEALTHY, Reason.STARTED, Reason.RESUMED, Reason.STOPPING)
    _move(turn, name, after, Reason.RELEASED if calm and not leaving.lost else Reason.SHUT if calm else reason, detail)


_ROLES: Mapping[Role, Callable[[Turn, str], None]] = {
    Role.INIT: _rest,
    Role.STANDBY: _rest,
    Role.FAULT: _rest,
    Role.PAUSED: _rest,
    Role.PROMOTING: _promote,
    Role.ACTIVE: _serve,
    Role.DEMOTING: _demote,
}
