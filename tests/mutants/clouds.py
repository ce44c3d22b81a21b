"""Movers and daemons that each lack one thing: seeds or a schedule must catch every one of them."""

# ruff: noqa: ARG002  (a method that replaces a rule ignores its arguments)
from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING, TypeVar

from controller.daemon.reconcile import Reconciler
from controller.daemon.reconcile import _Watch as Watch
from providers.cloud.calls import Calls
from providers.cloud.deadline import Deadline
from providers.cloud.moving import Moving
from tests.simulation import azure_model, gcp_model, gcp_route_model
from tests.simulation.cloud_process import CloudProcess
from tests.simulation.cloud_seeds import MECHANISMS, Mechanism, run_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.simulation.cloud import Mover, Steps
    from tests.simulation.gcp_route_model import Route

T = TypeVar("T")

FEW = 12  # seeds at most; the first one that catches the mutant is enough


@dataclass(frozen=True, slots=True)
class CloudMutant:
    """What is missing, what happens without it, and what a seed then reports (a regular expression)."""

    name: str
    rule: str
    happens: str
    finds: str
    mechanism: Mechanism

    def survives(self) -> str | None:
        """Returns why the mutant survives, or None if a seed catches it."""
        found = (run_seed(seed, self.mechanism).broken for seed in range(FEW))
        if any(re.search(self.finds, broken) for broken in found if broken):
            return None
        return f"{FEW} seeds do not find it"


# --- daemons -----------------------------------------------------------------------------------------------------


class NeverLooks(CloudProcess):
    class reconciler(Reconciler):  # noqa: N801  (replaces the daemon's own)
        async def _look(self, watch: Watch) -> None:
            """Never asks the cloud again after the move."""


class LooksSoonOnly(CloudProcess):
    class reconciler(Reconciler):  # noqa: N801
        def _about(self, period: float) -> Iterator[float]:
            return repeat(1e6)


class LooksHalfAsOften(CloudProcess):
    class reconciler(Reconciler):  # noqa: N801
        def _about(self, period: float) -> Iterator[float]:
            return repeat(2 * period)


class RepairsOnce(CloudProcess):
    class reconciler(Reconciler):  # noqa: N801
        def _compare(self, watch: Watch, here: bool, shown: str) -> None:
            super()._compare(watch, here, shown)
            if not here:
                watch.pauses = repeat(1e6)


class NeverRepairs(CloudProcess):
    class moving(Moving):  # noqa: N801
        def _repair(self, epoch: int) -> None:
            """Does nothing when the network leads elsewhere."""


class MovesOnce(CloudProcess):
    class moving(Moving):  # noqa: N801
        async def _wait_until_shown(self, until: Deadline) -> bool:
            while not await super()._wait_until_shown(until):
                pass
            return True


class LooksAtTheGrantOnce(CloudProcess):
    class calls(Calls):  # noqa: N801
        asked = False

        def _make(self, what: str, work: Callable[[], T], until: Deadline) -> T:
            if self.asked:
                return work()
            self.asked = True
            return super()._make(what, work, until)


# --- Azure -------------------------------------------------------------------------------------------------------


class AddsWithoutRemoving(azure_model.IpConfig):
    def _remove(self, nic: azure_model.Resource) -> Steps[None]:
        yield from ()


class OneTableOnly(azure_model.Route):
    def _point(self, key: str) -> Steps[None]:
        if key.startswith(azure_model.Tables.NAMES[0]):
            yield from super()._point(key)


class TakesFailedForDone(azure_model.IpConfig):
    def _write(self, key: str, content: object, etag: int | None) -> Steps[None]:
        yield azure_model.Put(key, content, etag)
        yield from self._at_rest(azure_model.Resource(key, updating=True))

    def look(self) -> Steps[bool]:
        own = yield azure_model.Get(self.host)
        return self.group in own.content


class NicsThatShare(azure_model.Nics):
    def admit(self, put: azure_model.Put) -> None:
        """Models a cloud that lets two NICs have the same address."""


# --- Google Cloud ------------------------------------------------------------------------------------------------


class InterfacesThatShare(gcp_model.Interfaces):
    def _set(self, host: str, ranges: gcp_model.Ranges) -> None:
        """Models a cloud that lets two interfaces have the same range."""
        self.ranges[host] = ranges
        self.changed(f"gave {host} {ranges}")


class TakesWithoutAsking(gcp_model.AliasIp):
    def _without(self, ranges: gcp_model.Ranges) -> gcp_model.Ranges:
        return ranges


class SameNumber(gcp_route_model.Routes):
    def _numbers(self) -> list[int]:
        return [gcp_route_model.WORST]

    def _number(self, others: Iterable[Route]) -> int:
        return gcp_route_model.WORST


class BetterThanSeen(gcp_route_model.Routes):
    def _number(self, others: Iterable[Route]) -> int:
        return min((route.number for route in others), default=gcp_route_model.WORST) - 1


class NumberMayBeTaken(gcp_route_model.Routes):
    def _number(self, others: Iterable[Route]) -> int:
        return self._numbers()[0]


class DeletesFirst(gcp_route_model.Routes):
    def move(self) -> Steps[None]:
        for old in (yield gcp_route_model.List(self.group)):
            if old.epoch != self.epoch:
                yield from self._delete(old, wins=True)
        yield from super().move()


class DeletesAtOnce(gcp_route_model.Routes):
    def _insert(self, ours: Route) -> Steps[None]:
        yield gcp_route_model.Insert(ours)


class LeavesOver(gcp_route_model.Routes):
    def look(self) -> Steps[bool]:
        routes = yield gcp_route_model.List(self.group)
        return bool(routes) and min(routes, key=lambda route: route.number).host == self.host


# --- all of them -------------------------------------------------------------------------------------------------


def _daemon(
    process: type[CloudProcess], rule: str, happens: str, names: Iterable[str] = ("azure.ip_config", "gcp.route")
) -> Iterator[CloudMutant]:
    for name in names:
        mechanism = replace(MECHANISMS[name], process=process)
        yield CloudMutant(f"{process.__name__} {name}", rule, happens, "network leads to|left over", mechanism)


def _mover(name: str, mover: type[Mover], rule: str, happens: str, finds: str) -> CloudMutant:
    return CloudMutant(mover.__name__, rule, happens, finds, replace(MECHANISMS[name], mover=mover))


# The mutants that a few seeds catch. Schedules catch these and all others.
MUTANTS = (
    *_daemon(NeverLooks, "the daemon asks the cloud again after a move", "a late call is never undone", MECHANISMS),
    *_daemon(
        LooksHalfAsOften,
        "the daemon asks the cloud once each period",
        "a late call is undone later than a period after it",
    ),
    *_daemon(RepairsOnce, "the daemon asks the cloud again after a repair, too", "a second late call is never undone"),
    _mover(
        "azure.route",
        OneTableOnly,
        "a move writes all tables",
        "the move is never complete, so no promotion ends",
        "should be served by one",
    ),
    _mover(
        "gcp.route",
        SameNumber,
        "a route's number comes from the epoch",
        "two routes have the same number and share the packets",
        "same priority",
    ),
    _mover(
        "gcp.route",
        DeletesFirst,
        "the new route is inserted before the old one is deleted",
        "for a moment there is no route",
        "no route",
    ),
    _mover(
        "gcp.route",
        DeletesAtOnce,
        "the old route is deleted once the new one is there",
        "for a moment there is no route",
        "no route",
    ),
    _mover(
        "gcp.route",
        LeavesOver,
        "a route that is left over is drift, too",
        "a late insert is never removed",
        "left over",
    ),
)
