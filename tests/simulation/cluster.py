"""A whole cluster in one world: hosts, network, store and invariants."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from controller.core.events import Hint
from controller.core.records import GROUPS, SESSIONS
from tests.simulation.host import Host
from tests.simulation.invariants import Invariants
from tests.simulation.mutant import Mutant
from tests.simulation.network import Network
from tests.simulation.store import Register
from tests.simulation.story import Story
from tests.simulation.world import Clock, Weather, World

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.core.machine import GroupPolicy
    from controller.core.timing import Timing
    from tests.simulation.store import Snapshot


_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class HostPlan:
    """The description of one machine to build."""

    name: str
    node: str
    clock: Clock
    groups: Mapping[str, GroupPolicy]
    timing: Timing


class Cluster:
    """Everything that a seed or a script acts on."""

    def __init__(
        self,
        world: World,
        plans: list[HostPlan],
        weather: Weather,
        mutant: Mutant,
        *,
        listening: bool = False,
    ) -> None:
        self.world, self.weather = world, weather
        self._state = TemporaryDirectory(prefix="anyvip-", dir=_MEMORY if _MEMORY.is_dir() else None)
        self.state_dir = Path(self._state.name)
        logging.disable()  # the story reports what the daemons would log
        self.mutant = mutant
        self.timing = max((plan.timing for plan in plans), key=lambda timing: timing.lease_duration)
        self.fair = False  # whether only planned events happen
        self.story = Story(world, listening=listening)
        self.store = Register(self._changed)
        self.network = Network(world, self.store, weather, self.story)
        self.invariants = Invariants(self)
        self.network.landed = self.invariants.landed
        self.hosts = {plan.name: Host(self, plan) for plan in plans}
        self.groups = sorted({group for plan in plans for group in plan.groups})

    def close(self) -> None:
        """End the daemons and remove their files."""
        for host in self.hosts.values():
            if host.process is not None:
                host.process.kill()
        self._state.cleanup()
        logging.disable(logging.NOTSET)

    def unix_time(self) -> float:
        """Return the time on a wall clock. It starts low, so that epochs are easy to read."""
        return 1000 + self.world.now

    def overshoot(self) -> float:
        """Return how late the kernel ends the timer that is being started, in seconds."""
        return self.weather.overshoot(self.timing.overshoot)

    def _changed(self, key: str) -> None:
        """Let the watches report a change, or not. The reported record can be outdated when the report arrives."""
        if key.startswith(SESSIONS):
            return
        entry = self.store.entries.get(key)
        hint = Hint({key: entry} if entry is not None and key.startswith(GROUPS) and self.weather.told() else {})
        for host in self.hosts.values():
            if not host.cut and self.weather.hinted():
                self.network.tell(host, hint)

    # --- what operators do to the store

    def delete(self, key: str) -> None:
        """Delete one record by hand."""
        self.story.chapter("store", lambda: f"operator deletes {key}")
        if self.store.entries.get(key) is not None:
            self.store.put(key, None)
        if key.startswith(GROUPS):
            self.invariants.deleted(key.removeprefix(GROUPS))

    def scribble(self, key: str) -> None:
        """Overwrite a record by hand with bytes that are not a record."""
        self.story.chapter("store", lambda: f"operator scribbles over {key}")
        self.store.put(key, b"oops")

    def stop_store(self) -> None:
        """Make the store stop answering."""
        self.story.chapter("store", lambda: "operator: the store is down")
        self.store.down += 1

    def start_store(self) -> None:
        """Make the store answer again, unless something else keeps it down."""
        self.story.chapter("store", lambda: "operator: the store is up")
        self.store.down = max(self.store.down - 1, 0)

    def restore(self, backup: Snapshot, *, rewind: bool) -> None:
        """Restore a backup. With `rewind` the store reuses versions, and requests sent before never arrive.

        The store has been down for a lease before, so its watches have always ended with their connections.
        """
        self.story.chapter("store", lambda: "operator restores a backup" + ", versions rewound" * rewind)
        self.network.end_watches()
        if rewind:
            self.network.forget()
        self.store.restore(backup, rewind=rewind)
        self.invariants.restored()
