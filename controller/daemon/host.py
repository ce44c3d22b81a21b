"""Manages what is local to this node: the guard and the groups' providers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib import metadata

from controller.config.facts import list_facts
from controller.config.model import Config, Group
from controller.config.problem import ConfigError
from controller.config.relations import timing_problems
from controller.core import events as ev
from controller.core.claims import is_shut
from controller.core.differences import digest
from controller.core.machine import GroupPolicy, Policy, Role, State
from controller.daemon.clock import Clock
from controller.daemon.fitness import Fitness
from controller.daemon.groups import Bound, Groups
from controller.daemon.steps import GroupSteps
from health.errors import AnyvipError
from providers.baremetal.addresses import take_away
from providers.base import GuardState, ProviderError
from providers.linux.capabilities import explain, missing_capabilities
from providers.linux.guard import GuardUnsupported, KernelGuard
from providers.linux.monitor import links_up
from providers.linux.unguarded import Unguarded

_log = logging.getLogger("anyvip")

LIFETIME_OVERSHOOT = 1.0  # seconds by which an address can outlast its valid_lft, where there is no guard
_AGAIN_SECONDS = 5.0  # after which what could not be unbound is tried again


class LocalError(AnyvipError):
    """This node's kernel refuses what the daemon needs. The message says what is missing and how to get it."""


class Local:
    """Keeps the guard and the groups' steps as the configuration says."""

    def __init__(self, config: Config, clock: Clock) -> None:
        """Raises LocalError, and ConfigError when the lease is not safe with what this kernel supports."""
        missing = missing_capabilities()
        if missing:
            raise LocalError(explain(missing))
        self._clock = clock
        self._config = config
        self._active: frozenset[str] = frozenset()
        self._state: State | None = None
        self._switched: set[str] = set()  # groups that were put in place anew, and are not bound anew yet
        self._letting_go = asyncio.Event()
        self._moved = False  # whether groups move something else than the policy says
        self.guard: KernelGuard | Unguarded = Unguarded()
        try:
            self.guard = KernelGuard(config.cluster)
            self._groups = Groups(self.guard, clock, self._grant_end)
            self._groups.begin(config)
            # Before the guard lets go of them: a killed earlier life can have left addresses of removed groups.
            take_away(self.guard.left_over(self._groups.plan()))
            self._install()
        except GuardUnsupported as error:
            self._without_guard(config, error)
        except ProviderError as error:
            raise LocalError(str(error)) from error

    def _without_guard(self, config: Config, error: GuardUnsupported) -> None:
        self.guard = Unguarded()
        self._groups = Groups(self.guard, self._clock, self._grant_end)
        self._groups.begin(config)
        problems = list(timing_problems(config, LIFETIME_OVERSHOOT))
        if problems:
            raise ConfigError(problems)
        _log.warning("no guard: only the lifetime of the addresses ends them when the daemon cannot: %s", error)

    @property
    def groups(self) -> Mapping[str, GroupSteps]:
        """The steps of each group, in one mapping that follows the configuration."""
        return self._groups.steps

    def policy(self, config: Config, boot: str) -> Policy:
        """Return what the core needs to know of the configuration."""
        timing = config.timing() if isinstance(self.guard, KernelGuard) else config.timing(LIFETIME_OVERSHOOT)
        groups = {name: _group_policy(group, *self._groups.tokens(name)) for name, group in config.groups.items()}
        facts = list_facts(config)
        return Policy(
            config.node, boot, timing, groups, version=metadata.version("anyvip"), config=digest(facts), facts=facts
        )

    async def inspect(self) -> GuardState:
        """Return what the guard lets pass now; nothing when it cannot be read."""
        try:
            return await self.guard.inspect()
        except ProviderError as error:
            _log.warning("cannot read the guard, so no group is adopted: %s", error)
            return GuardState(frozenset(), None)

    def remove(self) -> None:
        """Remove the guard, after everything was unbound. A guard that cannot be removed is shut."""
        try:
            self.guard.remove()
        except ProviderError as error:
            _log.warning("cannot remove the guard: %s", error)

    def undo(self) -> None:
        """Undo a start that failed: remove the guard if this start made it. An older guard stays as it is."""
        if self.guard.made:
            self.remove()

    # --- configuration ---

    def reconfigure(self, fresh: Config) -> list[str]:
        """Take over what has changed in the configuration. Returns the groups that are bound differently by it.

        New groups are in place at once, the others when `settle` finds that they can be. Raises LocalError. Nothing has
        changed then.
        """
        try:
            made = self._groups.anew(fresh)
        except Exception as error:  # no exception of a plugin may end the daemon
            raise LocalError(str(error)) from error
        try:
            self._install([bound for bound in made if bound.name not in self.groups])
        except ProviderError as error:
            self._groups.discard(made)
            raise LocalError(str(error)) from error
        self._config = fresh
        self._groups.configure(fresh, made)
        return [bound.name for bound in made]

    def settle(self, state: State) -> bool:
        """Follow the core's state. Returns whether groups move something else now, which the policy must say.

        Notes the active groups, drops groups that are neither configured nor held, and puts groups in place that have
        waited for their addresses.
        """
        self._state = state
        self._active = frozenset(name for name, group in state.groups.items() if group.role is Role.ACTIVE)
        serving = frozenset(name for name, group in state.groups.items() if not is_shut(group))
        if serving != self._groups.serving:
            self._groups.serving = serving
            if self._groups.overlapping:
                self.reinstall()
        self._drop_gone(state)
        moved, self._moved = self._switch(state) or self._moved, False
        return moved

    def _switch(self, state: State) -> bool:
        ready = self._groups.ready(state)
        if not ready:
            return False
        try:
            self._install(ready)
        except ProviderError as error:  # the next decision tries again
            _log.warning("cannot change the guard: %s", error)
            return False
        self._groups.switch(ready)
        self._switched |= {bound.name for bound in ready}
        self._letting_go.set()
        return True

    async def run(self, post: Callable[[ev.Event], None], fitness: Fitness) -> None:
        """Finish changes of the configuration, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._groups.close_unused())
            tasks.create_task(self._let_go(post, fitness))

    async def _let_go(self, post: Callable[[ev.Event], None], fitness: Fitness) -> None:
        """Unbind what groups no longer have, and only then take it out of the guard. Then have the rest bound."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN_SECONDS if self._groups.replaced else None):
                    await self._letting_go.wait()
            self._letting_go.clear()
            switched, self._switched = self._switched, set()
            self.look_at_links(fitness, switched)
            await self._groups.let_go()
            self.reinstall()
            self.drifted(switched, "configuration changed", post)
            self._moved = True
            post(ev.Tick())

    def _drop_gone(self, state: State) -> None:
        gone = [name for name in self.groups if name not in self._config.groups and name not in state.groups]
        if gone:
            self._groups.drop(gone)
            self.reinstall()

    def _grant_end(self, name: str) -> float | None:
        group = None if self._state is None else self._state.groups.get(name)
        return None if group is None else group.right.expires_at

    def reinstall(self) -> None:
        """Make the guard as it must be now. The next periodic check retries after a failure."""
        try:
            self._install()
        except ProviderError as error:
            _log.warning("cannot change the guard: %s", error)

    def _install(self, made: Iterable[Bound] = ()) -> None:
        for interface in self.guard.install(self._groups.plan(made)):
            _log.warning("interface %s does not exist, so nothing can be bound to it yet", interface)

    # --- looking again ---

    def find_on(self, interface: str) -> list[str]:
        """Return the groups that are bound to this interface."""
        return self._groups.on(interface)

    def find_with(self, address: str) -> list[str]:
        """Return the groups that have this address."""
        return self._groups.with_address(address)

    def look_at_all_links(self, fitness: Fitness) -> None:
        """Tell `fitness` of each link of each group whether it has a carrier now."""
        for name, down in self._without_carrier(self.groups).items():
            for interface in self._groups.interfaces(name):
                (fitness.link_down if interface in down else fitness.link_up)(name, interface)

    def look_at_links(self, fitness: Fitness, names: Iterable[str]) -> None:
        """Tell `fitness` what these groups lack now: a node that starts without a carrier is unfit."""
        names = list(names)
        for name in names:
            fitness.missing(name, self._groups.find_missing(name))
        for name, down in self._without_carrier(names).items():
            fitness.links(name, down)

    def open_missing(self) -> list[str]:
        """Try again to open what could not be opened. Returns the groups that could be: `settle` puts them in place."""
        try:
            opened = self._groups.open_missing(self._config)
        except Exception as error:  # noqa: BLE001  (no exception of a plugin may end the daemon)
            _log.warning("a group cannot be opened: %s", error)
            return []
        for name in opened:
            _log.info("group %s: this host has what it lacked", name)
        return opened

    def _without_carrier(self, names: Iterable[str]) -> Mapping[str, frozenset[str]]:
        """Return each group's interfaces that are down or missing; nothing when the kernel cannot be asked."""
        try:
            up = links_up()
        except ProviderError as error:
            _log.warning("cannot list the links: %s", error)
            return {}
        return {name: self._groups.interfaces(name) - up for name in names}

    def drifted(self, names: Iterable[str], what: str, post: Callable[[ev.Event], None]) -> None:
        """Have those of these groups that are active bound again."""
        for name in self._active.intersection(names):
            post(ev.Drifted(name, what))


def _group_policy(group: Group, claims: frozenset[str], uses: frozenset[str], leaves: frozenset[str]) -> GroupPolicy:
    hooks = group.hooks
    return GroupPolicy(
        group.priority,
        group.preempt,
        group.preempt_delay_seconds,
        claims=claims,
        uses=uses,
        leaves=leaves,
        prepare=bool(hooks.prepare),
        cleanup=bool(hooks.cleanup),
    )
