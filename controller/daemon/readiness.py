"""Says whether this node could take over, for `/readyz`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.core.state import Phase

if TYPE_CHECKING:
    from controller.core.state import Policy, State


def why_not_ready(state: State, policy: Policy) -> str:
    """Return why this node could not take over all groups that it is meant to serve; empty if it could.

    A pause of the cluster does not count, nor do groups in which this node has priority 0.
    """
    if state.phase is not Phase.MEMBER:
        return f"session: {state.phase.value}"
    if state.store.out_of_contact:
        return "the store does not answer"
    if state.stopping:
        return "this daemon is stopping"
    if not state.session.established:
        return f"not a candidate yet, or another live session is named {policy.node!r}"
    return "; ".join(
        f"{name}: {group.why or 'unhealthy' if group.healthy is False else 'no check has answered yet'}"
        for name, group in state.groups.items()
        if group.healthy is not True and name in policy.groups and policy.groups[name].priority > 0
    )
