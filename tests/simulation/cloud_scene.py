"""Two machines and one group in a cloud's network, for schedules told step by step."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from controller.core.machine import GroupPolicy
from controller.core.timing import Timing
from tests.simulation.cloud import OPERATION_SECONDS
from tests.simulation.cloud_process import PERIOD_SECONDS
from tests.simulation.cloud_seeds import MECHANISMS, REPAIR_SECONDS, build
from tests.simulation.cluster import HostPlan
from tests.simulation.process import Trap
from tests.simulation.world import Clock, Weather

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.host import Host

GROUP = "web"
PATIENCE = 120.0
LATE = 60.0  # lands when the other one has owned it for long


class Scene:
    """Two machines in fair weather. `changes`: of the mechanism."""

    lands_at = 0.0

    def __init__(self, mechanism: str, **changes: Any) -> None:
        groups, timing = {GROUP: GroupPolicy(100, False, 0.0)}, Timing(10.0, 7.0, 2.0)
        plans = [HostPlan(name, name, Clock(0.0, 1.0), groups, timing) for name in ("a", "b")]
        self.cluster = build(replace(MECHANISMS[mechanism], **changes), plans, Weather(), Random(0))
        self.cloud = self.cluster.cloud
        self.cloud.troubled = False
        self.a, self.b = self.cluster.hosts.values()

    def close(self) -> None:
        """End what runs."""
        self.cluster.close()

    def run(self, seconds: float) -> None:
        self.cluster.world.run(self.cluster.world.now + seconds)

    def until(self, so: Callable[[], bool], what: str) -> None:
        ends_at = self.cluster.world.now + PATIENCE
        while not so():
            self.expect(self.cluster.world.now < ends_at, what)
            self.run(0.05)

    def expect(self, so: bool, what: str) -> None:
        if not so:
            raise self.cloud.violated(what)

    def serves(self, host: Host) -> None:
        """Let it come to that, and see that the network agrees."""
        self.until(lambda: self.cluster.invariants.serving() == {GROUP: host.name}, f"{host.name} does not serve")
        self.leads_to(host.name)

    def leads_to(self, *names: str) -> None:
        held = self.cloud.holders(GROUP)
        self.expect(held == list(names), f"led to {held}, not to {names}")

    def takes_over(self, host: Host, other: Host) -> None:
        other.kill()
        host.start()
        self.serves(host)

    def undone(self, owner: Host) -> None:
        """One reconcile period later all is as it should be."""
        self.run(PERIOD_SECONDS + REPAIR_SECONDS)
        self.cluster.check_led()
        self.leads_to(owner.name)

    def at(self, host: Host, step: str, do: Callable[[], None]) -> None:
        """Do it before the host's next step of this kind: `KIND DETAIL`."""
        kind, _, detail = step.partition(" ")
        host.trap(Trap(kind, detail, do))

    def late(self, host: Host, verb: str, *, dies: bool = True) -> None:
        """Its next such call lands late; it dies before it asks again, or that is in time."""

        def leaves() -> None:
            self.cloud.delays.append(LATE)
            self.lands_at = self.cluster.world.now + LATE
            if dies:
                self.at(host, f"deadline {GROUP}", host.kill)

        self.at(host, f"call {verb}", leaves)

    def lands(self) -> None:
        """It lands, and if it is accepted its operation ends."""
        self.expect(self.cluster.world.now < self.lands_at, "it has landed before")
        self.cluster.world.run(self.lands_at + 2 * OPERATION_SECONDS)
