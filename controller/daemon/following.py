"""Follows what others change in this host's kernel: links, addresses, routes, and the guard."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from controller.core import events as ev
from controller.daemon.fitness import Fitness
from controller.daemon.host import Local
from providers.base import ProviderError
from providers.linux.guard import GuardMissing
from providers.linux.monitor import Change, ChangeKind, changes
from providers.linux.unguarded import Unguarded

_log = logging.getLogger("anyvip")

_ADAPT_SECONDS = 0.2  # in which a program that restarts the network can have put back what it removed
_LOOK_SECONDS = 5.0  # the kernel reports changes itself; this finds those whose report was lost

_OF_LINKS = frozenset(
    {ChangeKind.LINK_NEW, ChangeKind.LINK_GONE, ChangeKind.LINK_UP, ChangeKind.LINK_DOWN, ChangeKind.LINK_MAC_NEW}
)


class Follower:
    """Looks again at what concerns the groups at each report of the kernel, and from time to time."""

    def __init__(self, local: Local, post: Callable[[ev.Event], None], fitness: Fitness) -> None:
        self._local = local
        self._post = post
        self._fitness = fitness
        self._changed = asyncio.Event()  # set when this host's addresses or routes have changed

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look())
            tasks.create_task(self._follow())
            tasks.create_task(self._adapt())

    async def _follow(self) -> None:
        guard = self._local.guard
        table, port = ("", 0) if isinstance(guard, Unguarded) else (guard.table, guard.port)
        while True:
            try:
                async for change in changes(table, port):
                    await self._handle(change)
            except ProviderError as error:
                _log.warning("the kernel reports no changes: %s", error)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._check_guard()
            self._local.look_at_all_links(self._fitness)
            self._changed.set()

    async def _adapt(self) -> None:
        """Have the groups follow changes of this host's addresses and routes."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(_ADAPT_SECONDS)
            self._changed.clear()
            if self._local.open_missing():
                self._post(ev.Tick())  # the decision puts them in place
            for name, steps in list(self._local.groups.items()):
                for provider in steps.able.adaptable:
                    try:
                        await provider.adapt()
                    except Exception as error:  # noqa: BLE001  (no exception of a plugin may end the daemon)
                        _log.warning("group %s: cannot follow a change of this host: %s", name, error)

    async def _handle(self, change: Change) -> None:
        kind, local = change.kind, self._local
        what = f"{kind}: {change.interface or change.detail}"
        if kind in _OF_LINKS:
            self._handle_link(change, what)
        if kind in (ChangeKind.GUARD_CHANGED, ChangeKind.OVERFLOW):
            await self._check_guard()
        if kind is ChangeKind.ADDRESS_GONE:
            local.drifted(local.find_with(change.detail), what, self._post)
        if kind is ChangeKind.ADDRESS_NEW:
            local.reinstall()  # its link can be one by which VIPs can be reached from now on
        if kind is ChangeKind.OVERFLOW:
            local.drifted(list(local.groups), what, self._post)
        if kind is not ChangeKind.GUARD_CHANGED:
            self._changed.set()

    def _handle_link(self, change: Change, what: str) -> None:
        local, groups = self._local, self._local.find_on(change.interface)
        match change.kind:
            case ChangeKind.LINK_DOWN | ChangeKind.LINK_GONE:
                for name in groups:
                    self._fitness.link_down(name, change.interface)
                return
            case ChangeKind.LINK_UP:
                for name in groups:
                    self._fitness.link_up(name, change.interface)
        if change.kind is not ChangeKind.LINK_MAC_NEW:
            local.reinstall()
        local.drifted(groups, what, self._post)  # neighbours know the VIPs by an old MAC, or not at all

    async def _check_guard(self) -> None:
        try:
            await self._local.guard.inspect()
        except GuardMissing:
            _log.warning("another process changed or removed the guard: it is installed again, shut")
            self._local.reinstall()
            self._post(ev.GuardLost())
        except ProviderError as error:
            _log.warning("cannot read the guard: %s", error)
