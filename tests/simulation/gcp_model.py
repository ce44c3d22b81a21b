"""Google Cloud: operations that succeed or fail, and alias ranges whose changes are checked against a fingerprint."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tests.simulation.cloud import (
    BUSY,
    FAILED,
    IN_USE,
    PAUSE_SECONDS,
    STALE,
    Cloud,
    Mover,
    Refused,
    Request,
    Steps,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from tests.simulation.story import Story
    from tests.simulation.world import World

ATTEMPTS = 3  # at a range that another host has taken since


@dataclass(slots=True, eq=False)
class Operation:
    """An operation: its resource, whether it has ended, and its error."""

    on: str
    done: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Wait(Request):
    """Asks whether an operation is done. The answer is Refused when it has failed."""

    operation: Operation


class Compute(Cloud):
    """Compute Engine's operations. A request that is sent twice with one request id begins one operation."""

    def __init__(self, world: World, rng: Random, hosts: Sequence[str], story: Story) -> None:
        super().__init__(world, rng, hosts, story)
        self._begun: dict[Request, Operation] = {}

    def apply(self, request: Request) -> object:
        if not isinstance(request, Wait):
            return self._begun.get(request) or self.answer(request)
        if request.operation.error is not None:
            raise Refused(request.operation.error)
        return request.operation.done

    @abstractmethod
    def answer(self, request: Request) -> object:
        """Answer a request that is not a retry. Raises Refused."""

    def begin(self, request: Request, on: str, effect: Callable[[], None]) -> Operation:
        """Begin an operation that ends with this effect. It fails if the effect does, or by itself."""
        operation = self._begun[request] = Operation(on)
        self.world.after(self.lasts(), self._end, operation, effect, self.breaks())
        return operation

    def busy(self, on: str) -> bool:
        """Report whether an operation on this resource is under way."""
        return any(each.on == on and not each.done for each in self._begun.values())

    def _end(self, operation: Operation, effect: Callable[[], None], breaks: bool) -> None:
        operation.done = True
        try:
            if not breaks:
                effect()
        except Refused as refused:
            operation.error = refused.code
        if breaks:
            operation.error = FAILED
        self.seen["operations with an error"] += operation.error is not None


class Operator(Mover):
    """A mover that waits for operations."""

    def end(self, operation: Operation) -> Steps[None]:
        while not (yield Wait(operation)):
            yield PAUSE_SECONDS


# --- alias ranges ------------------------------------------------------------------------------------------------


Ranges = frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Get(Request):
    host: str


@dataclass(frozen=True, slots=True, eq=False)
class Patch(Request):
    """Gives an interface these ranges.

    `seen` are the ranges that were read. It stands for a fingerprint, so a fingerprint can come back.
    """

    writes: ClassVar[bool] = True
    host: str
    ranges: Ranges
    seen: Ranges


class Interfaces(Compute):
    """Interfaces, one for each host, with the groups whose VIPs they have as alias ranges."""

    writes = (Patch,)

    def __init__(self, world: World, rng: Random, hosts: Sequence[str], story: Story) -> None:
        super().__init__(world, rng, hosts, story)
        self.ranges: dict[str, Ranges] = dict.fromkeys(hosts, frozenset())

    def answer(self, request: Request) -> object:
        if isinstance(request, Get):
            return self.ranges[request.host]
        assert isinstance(request, Patch)
        if self.busy(request.host):
            raise Refused(BUSY)
        if request.seen != self.ranges[request.host]:
            raise Refused(STALE)
        return self.begin(request, request.host, lambda: self._set(request.host, request.ranges))

    def _set(self, host: str, ranges: Ranges) -> None:
        if any(ranges & taken for other, taken in self.ranges.items() if other != host):
            raise Refused(IN_USE)
        self.ranges[host] = ranges
        self.changed(f"gave {host} {' '.join(sorted(ranges)) or 'nothing'}")

    def holders(self, group: str) -> list[str]:
        return [host for host, ranges in self.ranges.items() if group in ranges]

    def check(self) -> None:
        given = [group for ranges in self.ranges.values() for group in ranges]
        if len(set(given)) != len(given):
            raise self.violated("a VIP is on two interfaces")


class AliasIp(Operator):
    """Models `gcp.alias_ip`: remove the range where it is, then add it here. Giving it up does not wait for the end."""

    _leaving: Operation | None = None

    def move(self) -> Steps[None]:
        yield from self._left()
        for attempt in range(ATTEMPTS):
            found: dict[str, Ranges] = {}
            for host in self.hosts:
                found[host] = yield Get(host)
            for host in self.hosts:
                if host != self.host:
                    yield from self._edit(host, found[host], self._without)
            try:
                return (yield from self._edit(self.host, found[self.host], self._with))
            except Refused as refused:
                if refused.code != IN_USE or attempt + 1 == ATTEMPTS:
                    raise
            yield PAUSE_SECONDS

    def leave(self) -> Steps[None]:
        yield from self._edit(self.host, (yield Get(self.host)), self._without, waiting=False)

    def look(self) -> Steps[bool]:
        return self.group in (yield Get(self.host))

    def _left(self) -> Steps[None]:
        """Wait until this mover's own removal of the range has ended, so that it cannot land later."""
        leaving, self._leaving = self._leaving, None
        if leaving is not None:
            try:
                yield from self.end(leaving)
            except Refused:
                return

    def _edit(self, host: str, seen: Ranges, edit: Callable[[Ranges], Ranges], *, waiting: bool = True) -> Steps[None]:
        """Change an interface's ranges, and read them again as long as another host changes them in between."""
        while edit(seen) != seen:
            try:
                operation = yield Patch(host, edit(seen), seen)
            except Refused as refused:
                if refused.code != STALE:
                    raise
            else:
                self._leaving = None if waiting else operation
                return (yield from self.end(operation)) if waiting else None
            seen = yield Get(host)
        return None

    def _without(self, ranges: Ranges) -> Ranges:
        return ranges - {self.group}

    def _with(self, ranges: Ranges) -> Ranges:
        return ranges | {self.group}
