"""This node's own part: the guard in its kernel, the providers of its groups, and what the kernel says of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping

from controller.config.model import Config
from controller.config.problem import ConfigError
from controller.config.relations import timing_problems
from controller.core import events as ev
from controller.core.machine import GroupPolicy, Policy, Role, State
from controller.core.records import GROUPS
from controller.core.state import Purpose
from controller.daemon.clock import Clock
from controller.daemon.fitness import Fitness
from controller.daemon.groups import Bound, Groups
from controller.daemon.steps import GroupSteps
from providers.baremetal.addresses import take_away
from providers.base import GuardState, ProviderError
from providers.linux.capabilities import explained, missing_capabilities
from providers.linux.guard import GuardMissing, GuardUnsupported, KernelGuard
from providers.linux.monitor import Change, Kind, changes, links_up
from providers.linux.unguarded import Unguarded

_log = logging.getLogger("anyvip")

LIFETIME_OVERSHOOT = 1.0  # seconds; how late an address's valid_lft may end it, where there is no guard
_COMING = frozenset({Purpose.TAKE, Purpose.WANT})  # writes after which a group may be ours
_LOOK_SECONDS = 5.0  # the kernel tells when the guard is changed; this is for what it should fail to tell


class LocalError(Exception):
    """This node's kernel does not let us; one line says what is missing and how to get it."""


class Local:
    """The guard and the groups' effects, kept as the configuration says."""

    def __init__(self, config: Config, clock: Clock) -> None:
        """Raises LocalError, and ConfigError where the lease is not safe with what this kernel can."""
        missing = missing_capabilities()
        if missing:
            raise LocalError(explained(missing))
        self._clock = clock
        self._config = config
        self._active: frozenset[str] = frozenset()
        self._state: State | None = None
        self._taking: frozenset[str] = frozenset()
        self.guard: KernelGuard | Unguarded = Unguarded()
        try:
            self.guard = KernelGuard(config.cluster)
            self._groups = Groups(self.guard, clock, self._granted)
            self._groups.begin(config)
            # Before they are guarded no longer: an earlier life, killed, may have served what is not configured now.
            take_away(self.guard.left_over(self._groups.plan()))
            self._install()
        except GuardUnsupported as error:
            self._without_guard(config, error)
        except ProviderError as error:
            raise LocalError(str(error)) from error

    def _without_guard(self, config: Config, error: GuardUnsupported) -> None:
        self.guard = Unguarded()
        self._groups = Groups(self.guard, self._clock, self._granted)
        self._groups.begin(config)
        problems = list(timing_problems(config, LIFETIME_OVERSHOOT))
        if problems:
            raise ConfigError(problems)
        _log.warning("no guard, the lifetime of addresses alone must do: %s", error)

    @property
    def groups(self) -> Mapping[str, GroupSteps]:
        """The steps of each group: one mapping that follows the configuration."""
        return self._groups.steps

    def policy(self, config: Config, boot: str) -> Policy:
        """What the core needs of the configuration."""
        timing = config.timing() if isinstance(self.guard, KernelGuard) else config.timing(LIFETIME_OVERSHOOT)
        groups = {
            name: GroupPolicy(group.priority, group.preempt, group.preempt_delay_seconds)
            for name, group in config.groups.items()
        }
        return Policy(config.node, boot, timing, groups)

    async def inspect(self) -> GuardState:
        """What the guard lets pass now."""
        try:
            return await self.guard.inspect()
        except ProviderError as error:
            _log.warning("the guard cannot be read, so nothing is adopted: %s", error)
            return GuardState(frozenset(), None)

    def remove(self) -> None:
        """Take the guard away, after everything was unbound. One that stays is shut."""
        try:
            self.guard.remove()
        except ProviderError as error:
            _log.warning("the guard stays: %s", error)

    def undo(self) -> None:
        """The start came to nothing: a guard that was not here before goes again. What was here stays as it is."""
        if self.guard.made:
            self.remove()

    # --- configuration ---

    def reconfigure(self, fresh: Config) -> list[str]:
        """Apply the difference, then call `let_go`. Returns the groups that are bound otherwise now.

        Raises LocalError, and nothing has changed.
        """
        try:
            made = self._groups.anew(fresh)
        except Exception as error:  # a plugin's own kind of error must not end the daemon
            raise LocalError(str(error)) from error
        try:
            self._install(made)
        except ProviderError as error:
            self._groups.discard(made)
            raise LocalError(str(error)) from error
        self._config = fresh
        self._groups.take(fresh, made)
        return [bound.name for bound in made]

    async def let_go(self) -> None:
        """Unbind what groups have no longer, and only then guard it no longer."""
        await self._groups.let_go()
        self._reinstall()

    def settle(self, state: State) -> None:
        """Follow the core: what is active may drift; what is configured no longer and given up is let go of."""
        self._state = state
        self._prepare(state)
        self._active = frozenset(name for name, group in state.groups.items() if group.role is Role.ACTIVE)
        gone = [name for name in self.groups if name not in self._config.groups and name not in state.groups]
        if gone:
            self._groups.drop(gone)
            self._reinstall()

    def _prepare(self, state: State) -> None:
        """What may be ours in a moment is bound sooner if what that needs is looked up while the store is asked."""
        taking = frozenset(w.key.removeprefix(GROUPS) for w in state.requests.pending.values() if w.purpose in _COMING)
        for name in (taking - self._taking) & self.groups.keys():
            asyncio.get_running_loop().call_later(0, self.groups[name].prepare)  # the request leaves first
        self._taking = taking

    def _granted(self, name: str) -> float | None:
        group = None if self._state is None else self._state.groups.get(name)
        return None if group is None else group.right.expires_at

    def _reinstall(self) -> None:
        """Make the guard as it must be now; a failure is tried again with the next look."""
        try:
            self._install()
        except ProviderError as error:
            _log.warning("the guard cannot be changed: %s", error)

    def _install(self, made: Iterable[Bound] = ()) -> None:
        for interface in self.guard.install(self._groups.plan(made)):
            _log.warning("interface %s is not there, so nothing can be bound to it yet", interface)

    # --- what the kernel says ---

    async def watch(self, post: Callable[[ev.Event], None], fitness: Fitness) -> None:
        """Report what others change in this kernel, as they do; and look now and then, should a word be lost."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._groups.close_unused())
            tasks.create_task(self._look(post, fitness))
            tasks.create_task(self._follow(post, fitness))

    async def _follow(self, post: Callable[[ev.Event], None], fitness: Fitness) -> None:
        table, port = ("", 0) if isinstance(self.guard, Unguarded) else (self.guard.table, self.guard.port)
        while True:
            try:
                async for change in changes(table, port):
                    await self._changed(change, post, fitness)
            except ProviderError as error:
                _log.warning("the kernel tells no changes: %s", error)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self, post: Callable[[ev.Event], None], fitness: Fitness) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._check_guard(post)
            for name, down in self._without_carrier(self.groups).items():
                for interface in self._groups.interfaces(name):
                    (fitness.link_down if interface in down else fitness.link_up)(name, interface)

    def look_at_links(self, fitness: Fitness, names: Iterable[str]) -> None:
        """Which links of these groups have no carrier now: who begins on one that is down is not fit to begin with."""
        for name, down in self._without_carrier(names).items():
            fitness.links(name, down)

    def _without_carrier(self, names: Iterable[str]) -> Mapping[str, frozenset[str]]:
        """By group, the interfaces that are down, or not there; empty when the kernel does not tell."""
        try:
            up = links_up()
        except ProviderError as error:
            _log.warning("the links cannot be listed: %s", error)
            return {}
        return {name: self._groups.interfaces(name) - up for name in names}

    async def _changed(self, change: Change, post: Callable[[ev.Event], None], fitness: Fitness) -> None:
        what = f"{change.kind}: {change.interface or change.detail}"
        match change.kind:
            case Kind.LINK_DOWN | Kind.LINK_GONE:
                for name in self._groups.on(change.interface):
                    fitness.link_down(name, change.interface)
            case Kind.LINK_UP | Kind.LINK_NEW:
                self._reinstall()
                if change.kind is Kind.LINK_UP:
                    for name in self._groups.on(change.interface):
                        fitness.link_up(name, change.interface)
                self.drifted(self._groups.on(change.interface), what, post)
            case Kind.ADDRESS_GONE:
                self.drifted(self._groups.with_address(change.detail), what, post)
            case Kind.GUARD_CHANGED:
                await self._check_guard(post)
            case Kind.OVERFLOW:
                await self._check_guard(post)
                self.drifted(list(self.groups), what, post)

    def drifted(self, names: Iterable[str], what: str, post: Callable[[ev.Event], None]) -> None:
        """Those of these groups that are active must be bound again."""
        for name in self._active.intersection(names):
            post(ev.Drifted(name, what))

    async def _check_guard(self, post: Callable[[ev.Event], None]) -> None:
        try:
            await self.guard.inspect()
        except GuardMissing:
            _log.warning("somebody changed or removed the guard: it is installed again, shut")
            self._reinstall()
            post(ev.GuardLost())
        except ProviderError as error:
            _log.warning("the guard cannot be read: %s", error)
