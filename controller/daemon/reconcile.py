"""Checks periodically, within a budget, whether the cloud still makes a group's VIPs lead to its active node.

A provider of a cloud names a period, `reconcile_seconds`. While its group is active here, the provider is inspected
soon after the takeover, because a former owner's late call lands early, and then once per period. On a standby it is
inspected rarely, which keeps its clients, credentials and connections warm. When VIPs lead elsewhere, the core binds
the group again. A look that fails changes nothing, because a missing answer proves nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, repeat
from random import Random
from typing import Final

from controller.core import events as ev
from controller.daemon.clock import Clock
from controller.daemon.steps import GroupSteps
from controller.telemetry.telemetry import Telemetry
from providers.base import Place, Reconciled

SOON_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0)  # the pauses after taking over, and after a repair
STANDBY_SECONDS: Final = 300.0  # credentials live an hour, idle connections some minutes
_LOOK_SECONDS: Final = 15.0
_TICK_SECONDS: Final = 0.5
_NOTHING_SECONDS: Final = 5.0  # while there is nothing to inspect; a reload can add a provider
_JITTER: Final = 0.1  # of a period, so that the nodes of one account do not ask at the same time


class Budget:
    """Limits this node's looks: a bucket of `burst` that is refilled at `per_minute`. Times in seconds."""

    def __init__(self, per_minute: float, burst: int, now: float) -> None:
        self._per_second = per_minute / 60
        self._burst = float(burst)
        self._left, self._at = self._burst, now

    def take(self, now: float) -> bool:
        """Take one look from the bucket, and return whether there was one."""
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass(slots=True, eq=False)
class _Watch:
    """One provider of one group, for the time of one epoch of an active group, or of a standby (epoch None)."""

    group: str
    provider: Reconciled
    epoch: int | None
    pauses: Iterator[float] = field(repr=False)
    next_at: float
    looking: bool = False
    astray: bool = False


class Reconciler:
    """Inspects every provider that is `Reconciled`. `groups` and `active` (epochs by name) follow the core."""

    def __init__(  # noqa: PLR0913  (each is given by name)
        self,
        *,
        groups: Mapping[str, GroupSteps],
        active: Callable[[], Mapping[str, int]],
        budget: Budget,
        clock: Clock,
        telemetry: Telemetry,
        post: Callable[[ev.Event], None],
        random: Random | None = None,
    ) -> None:
        self.budget = budget
        self._groups = groups
        self._active = active
        self._clock = clock
        self._telemetry = telemetry
        self._post = post
        self._random = random or Random()
        self._watches: dict[int, _Watch] = {}  # by the provider's id(): a reload makes new providers

    async def run(self) -> None:
        """Inspect each provider when it is due, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                for watch in self._due():
                    watch.looking = True
                    tasks.create_task(self._look(watch), name=f"look at {watch.group}")
                await asyncio.sleep(_TICK_SECONDS if self._watches else _NOTHING_SECONDS)

    def _due(self) -> Iterator[_Watch]:
        """Yield what to inspect now, as far as the budget goes: active groups first, then the longest overdue."""
        now = self._clock()
        self._watches = {id(watch.provider): watch for watch in self._list_wanted(now)}
        due = [watch for watch in self._watches.values() if now >= watch.next_at and not watch.looking]
        for watch in sorted(due, key=lambda watch: (watch.epoch is None, watch.next_at)):
            if not self.budget.take(now):
                return
            yield watch

    def _list_wanted(self, now: float) -> Iterator[_Watch]:
        active = self._active()
        for name, steps in self._groups.items():
            for provider in steps.able.reconciled:
                before = self._watches.get(id(provider))
                if before is not None and before.epoch == active.get(name):
                    yield before
                else:
                    pauses = self._pauses(provider.reconcile_seconds, active.get(name))
                    yield _Watch(name, provider, active.get(name), pauses, now + next(pauses))

    def _pauses(self, period: float, epoch: int | None) -> Iterator[float]:
        if epoch is None:
            return chain((0.0,), self._about(STANDBY_SECONDS))
        return chain((pause for pause in SOON_SECONDS if pause < period), self._about(period))

    def _about(self, period: float) -> Iterator[float]:
        return (each * (1 - self._random.uniform(0, _JITTER)) for each in repeat(period))

    async def _look(self, watch: _Watch) -> None:
        try:
            await self._inspect(watch)
        finally:
            watch.looking = False
            watch.next_at = self._clock() + next(watch.pauses)

    async def _inspect(self, watch: _Watch) -> None:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                found = await watch.provider.inspect()
        except Exception as error:  # noqa: BLE001  (no exception of a plugin may end the daemon)
            self._telemetry.looked(watch.group, f"{error}" or type(error).__name__)
        else:
            self._telemetry.looked(watch.group)
            if watch.epoch is not None and watch.epoch == self._active().get(watch.group):
                self._compare(watch, found.place is Place.HERE, f"{found.place} {found.where}".strip())

    def _compare(self, watch: _Watch, here: bool, shown: str) -> None:
        """Post a drift when VIPs of a group lead elsewhere. The group was active here before and after the look."""
        if here:
            if watch.astray:
                self._telemetry.repaired(watch.group)
            watch.astray = False
            return
        if not watch.astray:  # start over with short pauses; they grow while the repair fails
            watch.pauses = self._pauses(watch.provider.reconcile_seconds, watch.epoch)
        watch.astray = True
        self._post(ev.Drifted(watch.group, f"the network shows: {shown}"))
