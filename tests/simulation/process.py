"""One life of a daemon: the real loop, executor, steps and state file on a virtual event loop."""

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
    from controller.telemetry.telemetry import Op, RequestOutcome
    from providers.base import Provider
    from tests.simulation.host import Host
    from tests.simulation.invariants import Invariants

BUSY = 1000  # decisions in one retry_period, more than any work explains
HOOKS = HookCommands(prepare=("prepare",), promote=("promote",), demote=("demote",), cleanup=("cleanup",), timeout=60.0)


@dataclass(frozen=True, slots=True)
class Trap:
    """Calls `spring` before the next step of a kind whose detail has a prefix (see `VirtualLoop.step`)."""

    kind: str
    detail: str
    spring: Callable[[], None]


class SteppedNode(Node):
    """The daemon's loop. Handling an event is a step of the process, and the story records the decision."""

    process: Process

    def post(self, event: Event) -> None:
        self.process.loop.step("observe", type(event).__name__, super().post, event)

    def _tell(self, event: Event, decision: Decision) -> None:
        if not self.process.loop.dead:
            self.process.cluster.story.decided(self.process, event, decision)

    def _report(self, group: str, error: Exception, what: str) -> None:  # noqa: ARG002
        """End the run: the daemon survives an error of the core, but it is a finding unless the story causes it."""
        if not self.process.host.broken:
            self.process.loop.failed = error


class Process:
    """The daemon: it receives events, decides and carries out actions. A killed process stays dead."""

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
        """Return CLOCK_BOOTTIME of the host, in seconds."""
        return self.host.clock.at(self.cluster.world.now)

    @property
    def policy(self) -> Policy:
        """The daemon's current policy."""
        return self.node.policy

    @property
    def state(self) -> State:
        """The state of the daemon's core."""
        return self.node.state

    @property
    def awake(self) -> bool:
        """Whether the process is neither frozen nor dead."""
        return self.loop.awake

    # --- freezing and ending

    def freeze(self) -> None:
        """Stop the process until `thaw`, as SIGSTOP or a lack of CPU does."""
        self.loop.freeze()

    def thaw(self) -> None:
        """Continue where the process stopped, with everything that has become due."""
        self.loop.thaw()
        if self.awake:
            self.cluster.invariants.answers(self)

    def kill(self) -> None:
        """End the process as SIGKILL does, and free its lock."""
        self.loop.kill()
        self._life.close()

    def learn(self, group: str) -> None:
        """Get ready for a group that is new on the machine."""
        self.until[group] = 0.0
        self.steps[group] = self._steps_of(group)

    def post(self, event: Event) -> None:
        """Post an event from outside."""
        self.node.post(event)

    # --- the daemon, as `controller.daemon.daemon` assembles it

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
        """Return the coroutines that run beside the loop."""
        return [self._check()]

    async def _check(self) -> None:
        """Post the first verdicts of the checks. `Host.judge` posts the later ones."""
        for group, healthy in self.host.healthy.items():
            self.node.post(Judged(group, healthy, "as before"))

    def providers(self, group: str) -> list[Provider]:
        """Return the group's providers."""
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
            wall=self.cluster.unix_time,
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
        """Handle the end of the daemon, which has left by itself or failed."""
        error = None if main.cancelled() else main.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if error is not None:
            self.loop.failed = error
        elif not self.loop.dead:
            self.host.left()

    # --- after a decision

    def _decided(self, state: State) -> None:
        """Update what the health endpoint answers from now on."""
        self._check_pace()
        self.promised(lambda _: self.host.settle(state))
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
            self.loop.failed = Violation(f"{self.host.name} does not stop deciding")
        self._busy = since, decisions + 1

    def promised(self, check: Callable[[Invariants], None]) -> None:
        """Check a promise. A violation ends the loop, so that the daemon's own code cannot catch it."""
        try:
            check(self.cluster.invariants)
        except Violation as violation:
            self.loop.failed = violation


class Untold(Telemetry):
    """Telemetry that discards everything, because the story reports what happens."""

    def __init__(self) -> None:
        """Do nothing."""

    def transitioned(self, transitions: Iterable[Transition]) -> None:
        """Do nothing, because the story reports transitions."""

    def noticed(self, state: State) -> None:
        """Do nothing."""

    def ran(self, event: object) -> None:
        """Do nothing."""

    def judged(self, event: object) -> None:
        """Do nothing."""

    def drifted(self, event: object) -> None:
        """Do nothing."""

    def looked(self, group: str, error: str = "") -> None:
        """Do nothing."""

    def repaired(self, group: str) -> None:
        """Do nothing."""

    def requested(self, op: Op, outcome: RequestOutcome, seconds: float, error: str = "") -> None:
        """Do nothing."""
