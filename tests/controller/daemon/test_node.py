"""The loop turns when nothing happens, too: what it waits for may have passed while the machine was suspended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from controller.core.events import Judged, Tick
from controller.core.group import Transition
from controller.core.state import Agenda, Policy
from controller.core.timing import Timing
from controller.daemon.node import Node
from tests.lab.node.lone import Lone
from tests.simulation.loop import VirtualLoop
from tests.simulation.process import Untold
from tests.simulation.world import Clock, World

POLICY = Policy("n1", "this-boot", Timing(10.0, 7.0, 2.0), {})
RETRY = POLICY.timing.retry_period
NOTHING_TO_DO: Any = None  # a core that was not told `Started` orders no action, so no executor is asked


class Machine:
    """A node on a machine that can be suspended: its clock goes on meanwhile, the timers of its loop stand still."""

    def __init__(self, wakes: Mapping[str, float]) -> None:
        self.world = World()
        self.suspended = 0.0  # seconds so far
        self.turns: list[float] = []  # on the node's clock
        self.loop = VirtualLoop(self.world, Clock(0.0, 1.0), lambda: 0.0, lambda *_: None)
        self.node = Node(POLICY, self.clock, Untold(), lambda _: self.turns.append(self.clock()))
        self.node.state = replace(self.node.state, agenda=Agenda(frozenset(), wakes, POLICY))
        self.loop.create_task(self.node.run(NOTHING_TO_DO))
        self.node.post(Tick())

    def clock(self) -> float:
        return self.world.now + self.suspended


@pytest.fixture
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    made = Machine(getattr(request, "param", {}))
    yield made
    made.loop.kill()


@pytest.mark.parametrize(
    "machine", [pytest.param({}, id="never"), pytest.param({"web": 1e6}, id="late")], indirect=True
)
def test_it_turns_each_retry_period_whatever_the_core_waits_for(machine: Machine) -> None:
    machine.world.run(4.5 * RETRY)
    assert machine.turns == [0.0, RETRY, 2 * RETRY, 3 * RETRY, 4 * RETRY]


@pytest.mark.parametrize("machine", [{"web": 1000.0}], indirect=True)
def test_after_a_suspend_it_turns_within_a_retry_period(machine: Machine) -> None:
    machine.world.run(RETRY / 2)
    machine.suspended = 990.0
    machine.world.run(2.5 * RETRY)
    assert machine.turns == [0.0, 990.0 + RETRY, 990.0 + 2 * RETRY], "not 990 s after the core wanted to"


class Order(Untold):
    """Telemetry that notes what is reported, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def judged(self, event: object) -> None:
        self.told.append(type(event).__name__)

    def transitioned(self, transitions: Iterable[Transition]) -> None:
        self.told += [transition.reason.value for transition in transitions]


def test_a_cause_is_reported_before_its_effect() -> None:
    core = Lone().start().run(4)
    order = Order()
    node = Node(core.policy, lambda: core.now, order, lambda _: None)
    event = Judged("web", healthy=False, why="app: refused")
    node._tell(event, core.tell(event))
    assert order.told == ["Judged", "unhealthy"]
