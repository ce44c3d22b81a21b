"""One life of a daemon: the daemon's own loop, executor, steps and state file, on a virtual event loop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.core import machine
from controller.core.events import Event, Judged, Started
from controller.core.state import State
from controller.daemon.executor import Surroundings
from controller.daemon.life import Life
from controller.daemon.node import Node
from controller.daemon.steps import GroupSteps, HookCommands
from controller.telemetry.telemetry import Telemetry
from tests.simulation.effects import SimulatedAddresses, SimulatedHooks, SimulatedStore
from tests.simulation.loop import VirtualLoop
from tests.simulation.world import Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Any

    from controller.core.group import Transition
    from controller.core.machine import Decision, Policy
    from controller.telemetry.telemetry import Op, Outcome
    from providers.base import Provider
    from tests.simulation.host import Host
    from tests.simulation.invariants import Invariants

BUSY = 1000  # decisions in one retry_period: no work explains that many
HOOKS = HookCommands(promote=("promote",), demote=("demote",), timeout=60.0)


@dataclass(frozen=True, slots=True)
class Trap:
    """Springs before a step of this kind whose detail begins like this (see `VirtualLoop.step`)."""

    kind: str
    detail: str
    spring: Callable[[], None]


class SteppedNode(Node):
    """The daemon's loop. That it turns to an event is a step of the process, and the story hears what came of it."""

    process: Process

    def post(self, event: Event) -> None:
        self.process.loop.step("observe", type(event).__name__, super().post, event)

    def _tell(self, event: Event, decision: Decision) -> None:
        if not self.process.loop.dead:
            self.process.cluster.story.decided(self.process, event, decision)


class Process:
    """The daemon: events in, decisions out, actions carried out. Dead for ever once killed."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.cluster = host.cluster
        self.loop = VirtualLoop(self.cluster.world, host.clock, self.cluster.weather.loop, host.spring)
        self.loop.trapped = bool(host.traps)
        self.node = SteppedNode(host.policy(), self.clock, Untold(), self._decided)
        self.node.process = self
        self.until = dict.fromkeys(host.groups, 0.0)
        self._life = Life(host.state_dir)
        self._busy = (0.0, 0)
        self.guard = self.cluster.mutant.guard(self)
        self.steps = {group: self._steps_of(group) for group in host.groups}
        self._main = self.loop.create_task(self._live())
        self._main.add_done_callback(self._ended)

    def clock(self) -> float:
        """CLOCK_BOOTTIME of the host."""
        return self.host.clock.at(self.cluster.world.now)

    @property
    def policy(self) -> Policy:
        """What it is configured with now."""
        return self.node.policy

    @property
    def state(self) -> State:
        """What its core knows."""
        return self.node.state

    @property
    def awake(self) -> bool:
        """Whether it can do anything."""
        return self.loop.awake

    # --- being alive, more or less

    def freeze(self) -> None:
        """SIGSTOP, or no CPU: nothing of it runs until `thaw`."""
        self.loop.freeze()

    def thaw(self) -> None:
        """Go on where it stopped, with everything that has become due."""
        self.loop.thaw()
        if self.awake:
            self.cluster.invariants.answers(self)

    def kill(self) -> None:
        """SIGKILL: its lock is free, and nothing of it runs any more."""
        self.loop.kill()
        self._life.close()

    def post(self, event: Event) -> None:
        """Something happened outside."""
        self.node.post(event)

    # --- the daemon, as `controller.daemon.daemon` puts it together

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(work) for work in self.background()]
            executor = self.cluster.mutant.executor(self._surroundings(), Untold(), tasks, self.node.post)
            self.node.post(await self._started())
            left = await self.node.run(executor)
            for task in background:
                task.cancel()
        if not left.keep:
            self._life.forget()

    def background(self) -> list[Coroutine[Any, Any, None]]:
        """What runs beside the loop."""
        return [self._check()]

    async def _check(self) -> None:
        """The first verdicts of the checks; `Host.judge` tells the later ones."""
        for group, healthy in self.host.healthy.items():
            self.node.post(Judged(group, healthy, "as before"))

    def providers(self, group: str) -> list[Provider]:
        """What makes the group's addresses lead here."""
        return [SimulatedAddresses(self, group)]

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            store=SimulatedStore(self),
            guard=self.guard,
            groups=self.steps,
            life=self._life,
            clock=self.clock,
            mint=self.host.mint,
            call_timeout=self.policy.timing.call_timeout,
        )

    def _steps_of(self, group: str) -> GroupSteps:
        return self.cluster.mutant.steps(
            group=group,
            node=self.host.node,
            providers=self.providers(group),
            hooks=HOOKS,
            guard=self.guard,
            clock=self.clock,
            granted=self._granted,
            hook=SimulatedHooks(self),
        )

    def _granted(self, group: str) -> float | None:
        known = self.node.state.groups.get(group)
        return None if known is None else known.right.expires_at

    async def _started(self) -> Started:
        found = await self.guard.inspect()
        return Started(
            session=self.host.mint(),
            writer=self.host.writer(),
            saved=self._life.load(self.policy.boot_id),
            open_groups=found.open_groups,
            open_slot=found.slot,
            wall_offset=self.cluster.unix_time() - self.clock(),
        )

    def _ended(self, main: asyncio.Task[None]) -> None:
        """It has left by itself, or something in it went wrong."""
        error = None if main.cancelled() else main.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if error is not None:
            self.loop.failed = error
        elif not self.loop.dead:
            self.host.left()

    # --- what the loop leads to

    def _decided(self, state: State) -> None:
        """What the health endpoint answers with from now on."""
        self._check_pace()
        now, began = self.cluster.world.now, False
        for group, before in self.until.items():
            until = machine.serving_until(state, group)
            self.until[group] = after = 0.0 if until is None else self.host.clock.true(until)
            began = began or (after > now >= before)
        if began:
            self.promised(lambda invariants: invariants.answers(self))

    def _check_pace(self) -> None:
        since, decisions = self._busy
        if self.cluster.world.now > since + self.policy.timing.retry_period:
            since, decisions = self.cluster.world.now, 0
        if decisions > BUSY:
            self.loop.failed = Violation(f"{self.host.name} decides without end")
        self._busy = since, decisions + 1

    def promised(self, check: Callable[[Invariants], None]) -> None:
        """Ask whether a promise holds. The daemon's own code must not catch what comes of it."""
        try:
            check(self.cluster.invariants)
        except Violation as violation:
            self.loop.failed = violation


class Untold(Telemetry):
    """Nobody reads what a simulated daemon logs and counts."""

    def __init__(self) -> None:
        """Nothing is kept."""

    def transitioned(self, transitions: Iterable[Transition]) -> None:
        """Told by the story."""

    def ran(self, event: object) -> None:
        """Not counted."""

    def judged(self, event: object) -> None:
        """Not counted."""

    def drifted(self, event: object) -> None:
        """Not counted."""

    def looked(self, group: str, error: str = "") -> None:
        """Not counted."""

    def repaired(self, group: str) -> None:
        """Not counted."""

    def requested(self, op: Op, outcome: Outcome, seconds: float, error: str = "") -> None:
        """Not counted."""
