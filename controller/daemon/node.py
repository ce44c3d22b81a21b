"""Runs the daemon's only loop: takes an event, calls `observe` and `decide`, and begins the resulting actions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from controller.core import differences
from controller.core import events as ev
from controller.core.machine import Decision, Policy, State, initial
from controller.daemon.advance import Advance
from controller.daemon.clock import Clock
from controller.daemon.executor import Executor
from controller.telemetry.telemetry import Telemetry

_log = logging.getLogger("anyvip")


class Node:
    """Holds and advances the core's state. `on_decision` is called after each decision, with the new state."""

    def __init__(
        self, policy: Policy, clock: Clock, telemetry: Telemetry, on_decision: Callable[[State], None]
    ) -> None:
        self.policy = policy
        self.state = initial(policy)
        self.turned_at = clock()
        self._clock = clock
        self._telemetry = telemetry
        self._on_decision = on_decision
        self._advance = Advance(self._report)
        self._events: asyncio.Queue[ev.Event] = asyncio.Queue()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[tuple[Callable[[State], bool], asyncio.Future[None]]] = []

    def post(self, event: ev.Event) -> None:
        """Queue an event. Returns immediately."""
        self._events.put_nowait(event)

    async def until(self, holds: Callable[[State], bool]) -> None:
        """Wait until a decision leads to a state for which `holds` returns true."""
        reached = asyncio.get_running_loop().create_future()
        self._waiting.append((holds, reached))
        await reached

    async def run(self, executor: Executor) -> ev.Exit:
        """Turn events into actions until one of them is `Exit`."""
        while True:
            left = self._turn(await self._events.get(), executor)
            if left is not None:
                return left

    def _turn(self, event: ev.Event, executor: Executor) -> ev.Exit | None:
        now = self.turned_at = self._clock()
        decision = self._advance(self.state, event, now, self.policy)
        if decision is None:  # the core failed; without a decision, the next tick tries again
            self._sleep_until(None, now)
            return None
        self.state = decision.state
        self._on_decision(decision.state)
        self._wake_waiting()
        self._sleep_until(decision.wake_at, now)
        left = None
        for action in decision.actions:
            if isinstance(action, ev.Exit):
                left = action
            else:
                executor.begin(action)
        # Log only after the actions have been sent: during a switchover the group has no owner until they land.
        asyncio.get_running_loop().call_soon(self._tell, event, decision)
        return left

    def _tell(self, event: ev.Event, decision: Decision) -> None:
        """Report the event before the transitions that it causes, so that the log shows causes first."""
        match event:
            case ev.Ran():
                self._telemetry.ran(event)
            case ev.Judged():
                self._telemetry.judged(event)
            case ev.Drifted():
                self._telemetry.drifted(event)
            case ev.Listed() | ev.Wrote() | ev.Hint():
                self._telemetry.noticed(decision.state)
                sightings = decision.state.store.sightings.items()
                self._telemetry.unreadable({key: seen.problem for key, seen in sightings if seen.problem})
                self._tell_others(decision.state)
            case _:
                pass
        self._telemetry.transitioned(decision.transitions)

    def _tell_others(self, state: State) -> None:
        """Report in what the other nodes are configured otherwise, and which of our addresses they have."""
        nodes = {sid: record.node for sid, record in differences.list_others(state)}
        differing = differences.find(state, self.policy)
        self._telemetry.differing({nodes[sid]: phrases for sid, phrases in differing.items()})
        self._telemetry.claimed({name: group.claim.blocked for name, group in state.groups.items()})

    def _report(self, group: str, error: Exception, what: str) -> None:
        _log.error(what, exc_info=error, extra={"fields": {"group": group} if group else {}})

    def _wake_waiting(self) -> None:
        for holds, reached in tuple(self._waiting):
            if not reached.done() and holds(self.state):
                reached.set_result(None)
        self._waiting = [(holds, reached) for holds, reached in self._waiting if not reached.done()]

    def _sleep_until(self, wake_at: float | None, now: float) -> None:
        """Post a tick at `wake_at`, or one retry_period from now at the latest.

        The upper bound is for suspends: the loop's timers then stand still, and leases do not.
        """
        longest = self.policy.timing.retry_period
        seconds = longest if wake_at is None else min(max(wake_at - now, 0.0), longest)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.post, ev.Tick())
