"""Two machines and one group in a cloud's network, for schedules that go step by step."""

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
LATE = 60.0  # seconds until a late call lands, long after the other machine became the owner


class Scene:
    """Two machines in fair weather. `changes` replace fields of the mechanism."""

    lands_at = 0.0

    def __init__(self, mechanism: str, **changes: Any) -> None:
        groups, timing = {GROUP: GroupPolicy(100, False, 0.0)}, Timing(10.0, 7.0, 2.0)
        plans = [HostPlan(name, name, Clock(0.0, 1.0), groups, timing) for name in ("a", "b")]
        self.cluster = build(replace(MECHANISMS[mechanism], **changes), plans, Weather(), Random(0))
        self.cloud = self.cluster.cloud
        self.cloud.troubled = False
        self.a, self.b = self.cluster.hosts.values()

    def close(self) -> None:
        """End the daemons."""
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
        """Wait until the host serves, and check that the network leads to it."""
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
        """Check that after one reconcile period the network leads to the owner."""
        self.run(PERIOD_SECONDS + REPAIR_SECONDS)
        self.cluster.check_led()
        self.leads_to(owner.name)

    def at(self, host: Host, step: str, do: Callable[[], None]) -> None:
        """Call `do` before the host's next step of this kind: `KIND DETAIL`."""
        kind, _, detail = step.partition(" ")
        host.trap(Trap(kind, detail, do))

    def late(self, host: Host, verb: str, *, dies: bool = True) -> None:
        """Make the host's next such call land late. The host dies before its retry, or its retry is in time."""

        def leaves() -> None:
            self.cloud.delays.append(LATE)
            self.lands_at = self.cluster.world.now + LATE
            if dies:
                self.at(host, f"deadline {GROUP}", host.kill)

        self.at(host, f"call {verb}", leaves)

    def lands(self) -> None:
        """Run until the late call has landed and its operation, if it began one, has ended."""
        self.expect(self.cluster.world.now < self.lands_at, "the late call has landed already")
        self.cluster.world.run(self.lands_at + 2 * OPERATION_SECONDS)
