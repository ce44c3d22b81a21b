"""Advances the core by one event, also when the core raises an error that is not about one group.

The core itself confines an error about one group to that group (`controller.core.trouble`). Any other error is a bug,
or something in the store that nobody foresaw. The core changes nothing when it raises. The event is then replaced by
the one that reports a failed effect, or left out if nobody waits for it. The daemon ends only if an answer cannot be
told to the core in any form, or if the core has decided nothing for a lease. The guard's timers then end the traffic,
and systemd starts the daemon again.
"""

from __future__ import annotations

from collections.abc import Callable

from controller.core import events as ev
from controller.core.machine import Decision, Policy, State, decide, observe

_OPTIONAL = (ev.Hint, ev.Judged, ev.Asked, ev.PauseAsked, ev.Drifted, ev.GuardLost, ev.Tick)
_UNFORESEEN = "internal error: see the log"

Report = Callable[[str, Exception, str], None]


def as_failure(event: ev.Event) -> ev.Event | None:
    """Return the event that reports the same effect as failed; None if there is none."""
    match event:
        case ev.Listed():
            return ev.Failed(event.request, _UNFORESEEN)
        case ev.Wrote() | ev.Refused():
            return ev.Unsure(event.request, _UNFORESEEN)
        case ev.Cleared():
            return ev.Cleared(_UNFORESEEN)
        case ev.TimerStarted():
            return ev.TimerStarted(event.slot, event.at, _UNFORESEEN)
        case ev.Armed():
            return ev.Armed(event.slot, event.groups, _UNFORESEEN)
        case ev.Ran():
            return ev.Ran(event.group, event.epoch, event.step, _UNFORESEEN, event.seconds)
        case _:
            return None


class Advance:
    """Calls the core. `report` gets each error once: the group (empty: the node), the error, and what it prevented."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._failing_since: float | None = None  # since when every event has been left out
        self._told: dict[tuple[str, str], str] = {}  # by group and kind of event: the last error

    def __call__(self, state: State, event: ev.Event, now: float, policy: Policy) -> Decision | None:
        """Return the decision, or None if the event is left out. Raises what the core raises if it cannot be."""
        key = ("", type(event).__name__)
        try:
            decision = decide(observe(state, event, now, policy), now, policy)
        except Exception as error:  # noqa: BLE001  (one event must not end the daemon)
            self._tell(key, error, f"the core cannot act on {key[1]}")
            failure = as_failure(event)
            if failure is None:
                self._leave_out(event, error, now, policy)
                return None
            decision = decide(observe(state, failure, now, policy), now, policy)
        else:
            self._told.pop(key, None)
        self._failing_since = None
        self._note_groups(decision)
        return decision

    def _leave_out(self, event: ev.Event, error: Exception, now: float, policy: Policy) -> None:
        """Return if the event can be left out. Raises the error if it cannot, or if nothing was decided for a lease."""
        if self._failing_since is None:
            self._failing_since = now
        if not isinstance(event, _OPTIONAL) or now - self._failing_since >= policy.timing.lease_duration:
            raise error

    def _note_groups(self, decision: Decision) -> None:
        groups = decision.state.groups
        for key in [key for key in self._told if key[0] and (key[0] not in groups or groups[key[0]].trouble is None)]:
            del self._told[key]
        for group, error in decision.failures:
            self._tell((group, ""), error, "the core cannot decide about the group, so the group is shut")

    def _tell(self, key: tuple[str, str], error: Exception, what: str) -> None:
        said = f"{type(error).__name__}: {error}"
        if self._told.get(key) != said:
            self._told[key] = said
            self._report(key[0], error, what)
