"""Confines an error in one group's decision to that group: it is shut, and left alone for a lease. Pure.

An error is a bug, or something in the store that the code does not foresee. The group is tried again after a lease, or
after a reload. Until then this node is not fit for it, and gives it back if its record still names this node.
"""

from __future__ import annotations

from collections.abc import Callable

from controller.core.events import Step
from controller.core.group import AT_REST, Leaving, Reason, Role, Trouble
from controller.core.turn import Turn
from controller.core.values import replace

_LONGEST_DETAIL = 200  # characters

Move = Callable[[Turn, str, Role, Reason, str], None]


def contain(turn: Turn, name: str, error: Exception, move: Move) -> None:
    """Drops the right to the group and shuts it, by the shortest way, after its decision raised this error.

    What the decision had changed is undone already. `move` changes the group's role.
    """
    group = turn.groups[name]
    detail = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_DETAIL]
    again = group.trouble is not None and turn.now < group.trouble.until
    trouble = Trouble(turn.now + turn.policy.timing.lease_duration, detail, again and group.role in AT_REST)
    right = replace(group.right, owned=None, expires_at=None, adoptable=False)
    turn.put_group(name, trouble=trouble, right=right)
    turn.report(name, error)
    if not again:
        turn.begin_round_now()  # our beat tells the other nodes that we are not fit
    at_rest = group.role in AT_REST or (group.role is Role.DEMOTING and group.arming.shut)
    leaving = None if at_rest else Leaving(Reason.INTERNAL, lost=True, detail=detail)
    turn.put_group(name, leaving=leaving)
    turn.wake(turn.now if at_rest and not trouble.helpless else trouble.until)  # give it back as soon as it is shut
    after = Role.FAULT if at_rest else Role.DEMOTING
    if after is not group.role:
        move(turn, name, after, Reason.INTERNAL, detail)
    _shut(turn, name)


def settle(turn: Turn, name: str) -> bool:
    """Ends the group's trouble when its time has come. Returns whether nothing but shutting it should be tried now."""
    trouble = turn.groups[name].trouble
    if trouble is None:
        return False
    if turn.due_or_wake(trouble.until):
        turn.put_group(name, trouble=None)
        turn.begin_round_now()
        return False
    at_rest = turn.groups[name].role in AT_REST
    if trouble.helpless and at_rest:
        _shut(turn, name)
    return trouble.helpless and at_rest


def forget_all(turn: Turn) -> None:
    """Ends the trouble of all groups, after a reload."""
    for name, group in turn.groups.items():
        if group.trouble is not None:
            turn.put_group(name, trouble=None)


def _shut(turn: Turn, name: str) -> None:
    group = turn.groups[name]
    busy = group.arming.in_flight or group.steps.running is Step.SHUT
    if not group.arming.shut and not busy and turn.due_or_wake(group.steps.retry_at):
        turn.run(name, Step.SHUT, Reason.INTERNAL.value)
