"""How long a group's grant lasts, and the arming of what it covers. Pure."""

from __future__ import annotations

from controller.core import events as ev
from controller.core.events import Step
from controller.core.state import GroupState, Leaving, Phase, Reason, Role
from controller.core.turn import Turn


def update(turn: Turn, name: str) -> None:
    """Reckon anew how long the grant lasts; once it has ended, the group is lost."""
    group, renewed, timing = turn.groups[name], turn.state.renewed, turn.policy.timing
    if turn.state.phase is Phase.ENDING and (group.owned is not None or group.adoptable):
        reason = turn.state.over or Reason.SESSION_OVER
        turn.put_group(name, owned=None, adoptable=False, expires_at=None, leaving=Leaving(reason, lost=True))
        return
    if group.owned is None or renewed is None:
        return
    ends = turn.policy.rules.grant_ends(renewed.at, group.owned.confirmed_at, timing.renew_deadline)
    if ends != group.expires_at:
        turn.put_group(name, expires_at=ends)
    if turn.due(ends):
        turn.put_group(name, owned=None, leaving=Leaving(Reason.EXPIRED, lost=True))


def arm(turn: Turn) -> None:
    """Arm what was confirmed since the timer of the proven renewal was started."""
    renewed = turn.state.renewed
    if renewed is None or any(group.arming for group in turn.groups.values()):
        return
    names = frozenset(
        name
        for name, group in turn.groups.items()
        if group.owned is not None
        and group.owned.confirmed_at >= renewed.started_at
        and group.armed_for != renewed.started_at
        and not _on_its_way_out(group)
    )
    if names:
        for name in names:
            turn.put_group(name, arming=True, opened=True, armed_for=renewed.started_at)
        turn.act(ev.Arm(renewed.slot, names))


def _on_its_way_out(group: GroupState) -> bool:
    gone = group.leaving is not None and group.leaving.lost
    return group.role not in (Role.PROMOTING, Role.ACTIVE, Role.DEMOTING) or gone or group.step is Step.SHUT
