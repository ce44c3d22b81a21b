"""A daemon whose groups a cloud's network leads to, or to another: `providers.cloud.moving` and `controller.daemon.reconcile`.

The grant is looked at before each call leaves, a move is seen before it counts, and while a group is active its network
is looked at again, soon and then each period. A daemon may freeze or die before each step; what it has sent lives on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.core.events import Drifted, Ran, Run, Step
from controller.core.machine import Role
from tests.simulation.cloud import BUSY, PAUSE_SECONDS, USUAL_SECONDS, Cloud, Mover, Refused, Request, Steps
from tests.simulation.cluster import Cluster
from tests.simulation.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.simulation.host import Host

PERIOD_SECONDS = 15.0
SOON_SECONDS = (1.0, 2.0, 5.0, 10.0)
MOVE_SECONDS = 20.0
LOOK_SECONDS = 10.0
LEAVE_SECONDS = 3.0
LOOKS = 10  # for so many a move is given the time to show
CALL_SECONDS = 2.0  # then it is asked again, and may yet land


class CloudCluster(Cluster):
    """A cluster in such a network."""

    cloud: Cloud
    mover: type[Mover]

    def mover_for(self, host: str, group: str) -> Mover:
        """What moves the group to this host."""
        return self.mover(host, group, self.cloud.hosts, lambda: self.world.now)

    def check_led(self) -> None:
        """Every group leads to the one who serves it, and to nobody else."""
        for group, owner in self.invariants.serving().items():
            if self.cloud.holders(group) != [owner]:
                leads_to = ", ".join(self.cloud.holders(group)) or "nobody"
                raise self.cloud.violated(f"{owner} serves {group}, but the network leads to {leads_to}")
            self.cloud.check_tidy(group, owner)


@dataclass
class Errand:
    """A mover's calls, one after the other. `may`: whether one may leave now. `ended` is told the outcome, or an error."""

    group: str
    steps: Steps[Any]
    until: float  # true seconds
    may: Callable[[], bool]
    ended: Callable[[Any, str | None], None]
    asked: int = 0


@dataclass
class Watch:
    """Looking again at what was moved for one epoch."""

    group: str
    epoch: int
    pauses: Iterator[float]
    astray: bool = False


@dataclass
class Moved:
    """What a daemon knows of one group in the network."""

    mover: Mover
    moving: int | None = None  # the epoch that it is being moved for, as long as it is not shut
    moved: int | None = None  # the epoch that it was seen to be moved for
    began: bool = False  # whether there is anything to give up
    astray: bool = False
    repair: Errand | None = None


class CloudProcess(Process):
    """A daemon, and its part in the network."""

    looks = LOOKS

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._groups = {group: Moved(self._home.mover_for(host.name, group)) for group in host.groups}

    @property
    def _home(self) -> CloudCluster:
        assert isinstance(self.cluster, CloudCluster)
        return self.cluster

    def epoch(self, group: str) -> int:
        """The epoch that the network was seen to be moved for."""
        moved = self._groups[group].moved
        assert moved is not None
        return moved

    # --- bind, refresh, shut

    def _run(self, action: Run) -> None:
        if action.step not in {Step.BIND, Step.REFRESH}:
            super()._run(action)
            return
        group = self._groups[action.group]
        if group.moved != action.epoch:
            self._promote(group, action)
            return
        if group.astray and group.repair is None:
            self._repair(group, action.epoch)
        super()._run(action)

    def _shut(self, action: Run) -> None:
        group = self._groups[action.group]
        group.moved = group.moving = group.repair = None
        if group.began:
            self._leave(group)
        super()._shut(action)

    def _promote(self, group: Moved, order: Run) -> None:
        began_at = self.cluster.world.now
        group.moving, group.began, group.mover.epoch = order.epoch, True, order.epoch

        def ended(_: object, error: str | None) -> None:
            if error is None:
                group.moved, group.astray = order.epoch, False
                self._watch(Watch(order.group, order.epoch, self._pauses()))
            self.post(Ran(order.group, order.epoch, order.step, error, self.cluster.world.now - began_at))

        def may() -> bool:
            return group.moving == order.epoch and self._granted(order.group, order.expires_at)

        self._set_out(Errand(order.group, _seen(group.mover, self.looks), began_at + MOVE_SECONDS, may, ended))

    def _repair(self, group: Moved, epoch: int) -> None:
        """Move again, beside everything else. Whether it helped is for the next look to say."""
        name, until = group.mover.group, self.cluster.world.now + MOVE_SECONDS

        def may() -> bool:
            return group.repair is errand and group.moved == epoch and self._granted(name)

        def ended(_: object, __: str | None) -> None:
            if group.repair is errand:
                group.repair = None

        group.astray = False
        group.repair = errand = Errand(name, _seen(group.mover, self.looks), until, may, ended)
        self._set_out(errand)

    def _leave(self, group: Moved) -> None:
        """No grant is needed for it, but it must not go on when the group is moved here again."""

        def ended(_: object, error: str | None) -> None:
            if error is None and group.moving is None:
                group.began = False

        until = self.cluster.world.now + LEAVE_SECONDS
        self._set_out(Errand(group.mover.group, group.mover.leave(), until, lambda: group.moving is None, ended))

    def _granted(self, name: str, ordered_until: float = 0.0) -> bool:
        """Whether the grant lasts, which was maybe renewed since the order."""
        known = self.state.groups.get(name)
        ends = (None if known is None else known.expires_at) or 0.0
        return self.clock.at(self.cluster.world.now) < max(ends, ordered_until)

    # --- calls

    def _set_out(self, errand: Errand) -> None:
        self.step(self.cluster.weather.loop(), "step", "bind", self._go_on, errand, None)

    def _go_on(self, errand: Errand, answer: object) -> None:
        try:
            said = errand.steps.throw(answer) if isinstance(answer, Refused) else errand.steps.send(answer)
        except StopIteration as end:
            errand.ended(end.value, None)
        except Refused as refused:
            errand.ended(None, refused.code)
        else:
            if isinstance(said, Request):
                self._ask(errand, said)
            else:
                self.step(said, "pause", errand.group, self._go_on, errand, None)

    def _ask(self, errand: Errand, request: Request) -> None:
        """The last look at the grant and the clock; a daemon may freeze between it and the wire."""
        if not errand.may() or self.cluster.world.now >= errand.until:
            errand.ended(None, "too late")
            return
        self.step(self.cluster.weather.loop(), "call", f"{request.verb} {errand.group}", self._call, errand, request)

    def _call(self, errand: Errand, request: Request) -> None:
        cloud, world = self._home.cloud, self.cluster.world
        errand.asked += 1
        self.step(CALL_SECONDS, "deadline", errand.group, self._unanswered, errand, request, errand.asked)
        if request.writes and cloud.copies():
            world.after(cloud.takes(), cloud.land, request)
        if not cloud.loses():
            world.after(cloud.takes(), self._land, errand, request, errand.asked)

    def _land(self, errand: Errand, request: Request, asked: int) -> None:
        """No step of the daemon: frozen or killed, what it has sent takes effect."""
        cloud = self._home.cloud
        answer = cloud.land(request)
        if not cloud.loses():
            detail = f"{request.verb} {errand.group}"
            self.step(USUAL_SECONDS / 10, "answer", detail, self._answered, errand, request, asked, answer)

    def _answered(self, errand: Errand, request: Request, asked: int, answer: object) -> None:
        if errand.asked != asked:
            return
        errand.asked += 1  # the deadline comes to nothing
        if isinstance(answer, Refused) and answer.code == BUSY:
            self.step(PAUSE_SECONDS, "pause", errand.group, self._ask, errand, request)
        else:
            self._go_on(errand, answer)

    def _unanswered(self, errand: Errand, request: Request, asked: int) -> None:
        if errand.asked == asked:
            errand.asked += 1  # an answer that comes after all is not waited for
            self._ask(errand, request)

    # --- reconciling

    def _pauses(self) -> Iterator[float]:
        yield from SOON_SECONDS
        while True:
            yield PERIOD_SECONDS

    def _watch(self, watch: Watch) -> None:
        self.step(next(watch.pauses), "reconcile", watch.group, self._look_again, watch)

    def _look_again(self, watch: Watch) -> None:
        group = self._groups[watch.group]

        def may() -> bool:
            return group.moved == watch.epoch

        def ended(here: bool | None, error: str | None) -> None:
            if may():
                if error is None:
                    self._compare(watch, here=bool(here))
                self._watch(watch)

        if may():
            until = self.cluster.world.now + LOOK_SECONDS
            self._set_out(Errand(watch.group, group.mover.look(), until, may, ended))

    def _compare(self, watch: Watch, *, here: bool) -> None:
        known = self.state.groups.get(watch.group)
        if known is None or known.role is not Role.ACTIVE:
            return
        self._groups[watch.group].astray = not here
        if not here:
            if not watch.astray:  # what cannot be repaired is tried less and less often
                watch.pauses = self._pauses()
            self.post(Drifted(watch.group, "the network leads elsewhere"))
        watch.astray = not here


def _seen(mover: Mover, looks: int) -> Steps[None]:
    """Move, and see that it shows: what a look is refused is no evidence. What does not show for long is moved again."""
    while True:
        yield from mover.move()
        for _ in range(looks):
            if (yield from _looked(mover)):
                return
            yield PAUSE_SECONDS


def _looked(mover: Mover) -> Steps[bool]:
    try:
        return (yield from mover.look())
    except Refused:
        return False
