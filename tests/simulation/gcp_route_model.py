"""Google Cloud's routes: they cannot be changed, and the best of several routes to a VIP wins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from tests.simulation.cloud import EXISTS, GONE, Refused, Request, Steps
from tests.simulation.gcp_model import Compute, Operator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from random import Random

    from tests.simulation.story import Story
    from tests.simulation.world import World

GOING_SECONDS = 7.5  # by then a route that is being deleted is gone, or must be deleted again
WORST = 999
SPAN = 100  # how many numbers routes have: the smallest configurable span, so that the numbers wrap around


@dataclass(frozen=True, slots=True)
class Route:
    """A route to a group's VIP. It cannot be changed, and its name contains its host and epoch."""

    group: str
    epoch: int
    host: str
    number: int  # its priority: the lowest one wins

    @property
    def name(self) -> str:
        return f"{self.group}-{self.epoch}-{self.host}"


@dataclass(frozen=True, slots=True, eq=False)
class List(Request):
    group: str


@dataclass(frozen=True, slots=True, eq=False)
class Insert(Request):
    writes: ClassVar[bool] = True
    route: Route


@dataclass(frozen=True, slots=True, eq=False)
class Delete(Request):
    writes: ClassVar[bool] = True
    name: str


class RoutingTable(Compute):
    """The network's routes, by name."""

    writes = (Insert, Delete)

    def __init__(self, world: World, rng: Random, hosts: Sequence[str], story: Story) -> None:
        super().__init__(world, rng, hosts, story)
        self.routes: dict[str, Route] = {}
        self._led: set[str] = set()

    def answer(self, request: Request) -> object:
        match request:
            case List():
                return self.to(request.group)
            case Insert():
                if request.route.name in self.routes:
                    raise Refused(EXISTS)
                return self.begin(request, request.route.name, lambda: self._insert(request.route))
            case Delete():
                if request.name not in self.routes:
                    raise Refused(GONE)
                return self.begin(request, request.name, lambda: self._delete(request.name))
        raise TypeError(request)

    def to(self, group: str) -> list[Route]:
        """Return all routes to a group's VIP."""
        return [route for route in self.routes.values() if route.group == group]

    def _insert(self, route: Route) -> None:
        if route.name in self.routes:
            raise Refused(EXISTS)
        self.routes[route.name] = route
        self._led.add(route.group)
        self.changed(f"inserted {route.name} as {route.number}")

    def _delete(self, name: str) -> None:
        if self.routes.pop(name, None) is not None:
            self.changed(f"deleted {name}")

    def holders(self, group: str) -> list[str]:
        routes = self.to(group)
        best = min((route.number for route in routes), default=None)
        return [route.host for route in routes if route.number == best]

    def check(self) -> None:
        for group in self._led:
            numbers = [route.number for route in self.to(group)]
            if not numbers:
                raise self.violated(f"there is no route to {group}")
            if len(set(numbers)) != len(numbers):
                raise self.violated(f"two routes to {group} have the same priority")

    def check_tidy(self, group: str, owner: str) -> None:
        left = [route.name for route in self.to(group) if route.host != owner]
        if left:
            raise self.violated(f"routes to {group} are left over: {', '.join(left)}")


class Routes(Operator):
    """Models `gcp.route`: insert a route whose number comes from the epoch, then delete those of former owners."""

    def __init__(self, host: str, group: str, hosts: Sequence[str], clock: Callable[[], float]) -> None:
        super().__init__(host, group, hosts, clock)
        self._going: dict[str, float] = {}

    def move(self) -> Steps[None]:
        routes = yield List(self.group)
        ours = Route(self.group, self.epoch, self.host, self._numbers()[0])
        if all(route.name != ours.name for route in routes):
            ours = replace(ours, number=self._number(routes))
            yield from self._insert(ours)
        for old in routes:
            if old.name != ours.name:
                yield from self._delete(old, wins=old.number <= ours.number)

    def look(self) -> Steps[bool]:
        """Ask whether only this host's routes remain, apart from those of former owners that are being deleted."""
        routes = yield List(self.group)
        best = min((route.number for route in routes), default=None)
        going = {name for name, until in self._going.items() if until > self.clock()}
        elsewhere = [route for route in routes if route.host != self.host]
        return best is not None and all(route.number != best and route.name in going for route in elsewhere)

    def _numbers(self) -> list[int]:
        """Return this epoch's number, then those of the next epochs."""
        return [WORST - (self.epoch + ahead) % SPAN for ahead in range(SPAN)]

    def _number(self, others: Iterable[Route]) -> int:
        taken = {route.number for route in others}
        return next(number for number in self._numbers() if number not in taken)

    def _insert(self, ours: Route) -> Steps[None]:
        try:
            operation = yield Insert(ours)
        except Refused as refused:
            if refused.code != EXISTS:
                raise
        else:
            yield from self.end(operation)

    def _delete(self, old: Route, *, wins: bool) -> Steps[None]:
        """Delete a former owner's route. Waits for the end only if that route still wins over this host's."""
        if not wins:
            self._going[old.name] = self.clock() + GOING_SECONDS
        try:
            operation = yield Delete(old.name)
            if wins:
                yield from self.end(operation)
        except Refused as refused:
            if wins and refused.code != GONE:
                raise
