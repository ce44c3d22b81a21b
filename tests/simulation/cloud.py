"""A cloud's network in the simulated world: it knows no fences and no epochs, and calls may land late.

The daemon's part is what `providers.moving` and `controller.reconcile` do: the grant is looked at before a call leaves, a
move is seen before it counts, and while a group is active its network is looked at again, soon and then each period.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from controller.events import Drifted, Ran, Run, Step
from controller.machine import Role
from tests.simulation.cluster import Cluster
from tests.simulation.process import Process
from tests.simulation.world import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.host import Host

LATE_SECONDS = 5.0  # a call lands at most so long after it was sent
PERIOD_SECONDS = 15.0
SOON_SECONDS = (1.0, 2.0, 5.0, 10.0)
MOVE_SECONDS = 20.0
USUAL_SECONDS = 0.3
PAUSE_SECONDS = 0.2  # between looks whether a move shows


class Network:
    """Where each group leads: to the host whose call landed last, whoever that was."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.leads_to: dict[str, str] = {}
        self.landed: list[tuple[float, str, str]] = []
        self.troubled = True

    def takes(self) -> float:
        """Seconds until a call that leaves now lands."""
        if self.troubled and self._rng.random() < 0.3:
            return self._rng.random() * LATE_SECONDS
        return USUAL_SECONDS * (0.5 + self._rng.random())

    def refuses(self) -> bool:
        """Whether this call comes to nothing, and its caller is told so."""
        return self.troubled and self._rng.random() < 0.1

    def land(self, at: float, group: str, host: str) -> None:
        """A call takes effect: there is nothing that could stop it."""
        self.leads_to[group] = host
        self.landed.append((at, group, host))


class CloudCluster(Cluster):
    """A cluster in such a network."""

    cloud: Network

    def check_led(self) -> None:
        """Every group leads to the one who serves it."""
        serving = self.invariants.serving()
        if self.cloud.leads_to != serving:
            recent = [f"{at:.2f} {group} to {host}" for at, group, host in self.cloud.landed[-6:]]
            raise Violation(f"{serving} serve, but the network leads to {self.cloud.leads_to}: {', '.join(recent)}")


@dataclass
class Move:
    """One attempt to make the network lead here, for an order of the core or to repair (None)."""

    group: str
    epoch: int
    until: float  # true seconds
    order: Run | None
    began_at: float


class CloudProcess(Process):
    """A daemon whose groups are moved in the network. Its calls in flight outlive it."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.moved: dict[str, int] = {}  # the epoch that each group was seen to be moved for
        self.moving: dict[str, int] = {}  # the epoch that each group is moved for, as long as it is not shut
        self.astray: set[str] = set()

    @property
    def _cloud(self) -> Network:
        assert isinstance(self.cluster, CloudCluster)
        return self.cluster.cloud

    # --- bind and refresh

    def _run(self, action: Run) -> None:
        if action.step not in {Step.BIND, Step.REFRESH}:
            super()._run(action)
            return
        if self.moved.get(action.group) != action.epoch:
            self._move(action.group, action.epoch, action)
            return
        if action.group in self.astray:
            self.astray.discard(action.group)
            self._move(action.group, action.epoch, None)
        super()._run(action)

    def _shut(self, action: Run) -> None:
        self.moved.pop(action.group, None)
        self.moving.pop(action.group, None)
        super()._shut(action)

    def _move(self, group: str, epoch: int, order: Run | None) -> None:
        now = self.cluster.world.now
        self.moving[group] = epoch
        move = Move(group, epoch, now + MOVE_SECONDS, order, now)
        self.step(self.cluster.weather.loop(), "step", "bind", self._leave, move)

    def _may(self, move: Move) -> bool:
        """Whether the grant lasts, which was maybe renewed since the order, and the group was not shut meanwhile."""
        group = self.state.groups.get(move.group)
        ends = (None if group is None else group.expires_at) or 0.0
        if move.order is not None:
            ends = max(ends, move.order.expires_at)
        world = self.cluster.world
        shut = self.moving.get(move.group) != move.epoch
        return not shut and self.clock.at(world.now) < ends and world.now < move.until

    def _leave(self, move: Move) -> None:
        """The last look at the grant; a daemon may freeze between it and the wire."""
        if not self._may(move):
            self._ended(move, "the grant has ended")
            return
        self.step(self.cluster.weather.loop(), "call", move.group, self._send_call, move)

    def _send_call(self, move: Move) -> None:
        takes = self._cloud.takes()
        if self._cloud.refuses():
            self.step(takes, "refused", move.group, self._leave, move)
            return
        self.cluster.world.after(takes, self._land, move)

    def _land(self, move: Move) -> None:
        """No step of the daemon: frozen or killed, what it has sent takes effect."""
        self._cloud.land(self.cluster.world.now, move.group, self.host.name)
        self.step(USUAL_SECONDS / 10, "moved", move.group, self._ask, move)

    def _ask(self, move: Move) -> None:
        self.step(self._cloud.takes(), "look", move.group, self._seen, move)

    def _seen(self, move: Move) -> None:
        if self._cloud.leads_to.get(move.group) == self.host.name:
            self._ended(move, None)
        elif not self._may(move):
            self._ended(move, "moved, but not seen")
        else:
            self.step(PAUSE_SECONDS, "pause", move.group, self._ask, move)

    def _ended(self, move: Move, error: str | None) -> None:
        if move.order is None:
            return
        if error is None:
            self.moved[move.group] = move.epoch
            self.astray.discard(move.group)
            self._watch(move.group, move.epoch, self._pauses())
        took = self.cluster.world.now - move.began_at
        self.post(Ran(move.group, move.epoch, move.order.step, error, took))

    # --- reconciling

    def _watch(self, group: str, epoch: int, pauses: Iterator[float]) -> None:
        self.step(next(pauses), "reconcile", group, self._look_again, group, epoch, pauses)

    def _look_again(self, group: str, epoch: int, pauses: Iterator[float]) -> None:
        if self.moved.get(group) == epoch:
            self.step(self._cloud.takes(), "look", group, self._compare, group, epoch, pauses)

    def _compare(self, group: str, epoch: int, pauses: Iterator[float]) -> None:
        if self.moved.get(group) != epoch:
            return
        known = self.state.groups.get(group)
        if known is not None and known.role is Role.ACTIVE and self._cloud.leads_to.get(group) != self.host.name:
            self.astray.add(group)
            self.post(Drifted(group, "the network leads elsewhere"))
            pauses = self._pauses()
        self._watch(group, epoch, pauses)

    def _pauses(self) -> Iterator[float]:
        yield from SOON_SECONDS
        while True:
            yield PERIOD_SECONDS


class Careless(CloudProcess):
    """Moves once, and never looks again."""

    def _watch(self, group: str, epoch: int, pauses: Iterator[float]) -> None:
        """Never."""
