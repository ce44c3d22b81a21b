"""Computes how long each group's grant lasts, and arms the groups that it covers. Pure."""

from __future__ import annotations

from controller.core import claims
from controller.core import events as ev
from controller.core.events import Step
from controller.core.group import GroupPolicy, GroupState, Leaving, Reason, Role
from controller.core.state import Phase
from controller.core.turn import Turn
from controller.core.values import replace


def update(turn: Turn, name: str) -> None:
    """Updates when the group's grant ends. Once the grant or the session has ended, the group is lost."""
    group, renewed, timing = turn.groups[name], turn.state.rounds.renewed, turn.policy.timing
    right = group.right
    if turn.state.phase is Phase.ENDING and (right.owned is not None or right.adoptable):
        reason = turn.state.session.over or Reason.SESSION_OVER
        dropped = replace(right, owned=None, adoptable=False, expires_at=None)
        turn.put_group(name, right=dropped, leaving=Leaving(reason, lost=True))
        return
    if renewed is None or right.adoptable:
        _check_adopted(turn, name)
        return
    if right.owned is None:
        return
    ends = turn.policy.rules.grant_ends(renewed.at, right.owned.confirmed_at, timing.renew_deadline)
    if ends != right.expires_at:
        right = replace(right, expires_at=ends)
        turn.put_group(name, right=right)
    if turn.due_or_wake(ends):
        campaign = replace(group.campaign, heard=turn.state.requests.heard)
        leaving = Leaving(Reason.EXPIRED, lost=True)
        turn.put_group(name, right=replace(right, owned=None), leaving=leaving, campaign=campaign)


def _check_adopted(turn: Turn, name: str) -> None:
    """Loses a group that was found open once its timer must have ended, if no renewal has landed since."""
    group = turn.groups[name]
    right, rules = group.right, turn.policy.rules
    if (right.owned is None and not right.adoptable) or right.found_at is None:
        return
    if turn.due_or_wake(rules.adopts_until(right.found_at, turn.policy.timing.renew_deadline)):
        lost = replace(right, owned=None, adoptable=False)
        turn.put_group(name, right=lost, leaving=Leaving(Reason.EXPIRED, lost=True))


def arm(turn: Turn) -> None:
    """Arms the groups that were confirmed as ours since the timer of the last successful renewal was started."""
    renewed = turn.state.rounds.renewed
    if renewed is None or any(group.arming.in_flight for group in turn.groups.values()):
        return
    names = frozenset(
        name
        for name, group in turn.groups.items()
        if group.right.owned is not None
        and group.right.owned.confirmed_at >= renewed.started_at
        and group.arming.renewal != renewed.started_at
        and claims.may_open(turn, name)
        and not _must_stay_shut(group, turn.policy.groups.get(name))
    )
    if names:
        for name in names:
            arming = replace(turn.groups[name].arming, in_flight=True, opened=True, renewal=renewed.started_at)
            turn.put_group(name, arming=arming)
        turn.act(ev.Arm(renewed.slot, names))


def _must_stay_shut(group: GroupState, policy: GroupPolicy | None) -> bool:
    """Returns whether the guard must not open: the group is on its way out, or its service is not prepared."""
    gone = group.leaving is not None and group.leaving.lost
    if group.role not in (Role.PROMOTING, Role.ACTIVE, Role.DEMOTING) or gone or group.steps.running is Step.SHUT:
        return True
    unopened = group.role is Role.DEMOTING and not group.arming.opened
    return unopened or group.must_prepare(policy)
