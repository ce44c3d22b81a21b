"""This node's own part: the guard in its kernel, the providers of its groups, and what the kernel says of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from controller import events as ev
from controller.clock import Clock
from controller.config import Config, Group
from controller.fitness import Fitness
from controller.machine import GroupPolicy, Policy, Role, State
from controller.plugins import AUTO, Plugin
from controller.problem import ConfigError
from controller.relations import timing_problems
from controller.steps import GroupSteps, HookCommands
from providers.base import Guarded, GuardState, Plan, Provider, ProviderError
from providers.capabilities import explained, missing_capabilities
from providers.guard import GuardMissing, GuardUnsupported, KernelGuard
from providers.monitor import Change, Kind, changes
from providers.platform import auto_type
from providers.registry import provider_type
from providers.unguarded import Unguarded

_log = logging.getLogger("anyvip")

LIFETIME_OVERSHOOT = 1.0  # seconds; how late an address's valid_lft may end it, where there is no guard
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
        self.groups: dict[str, GroupSteps] = {}
        self.guard: KernelGuard | Unguarded = Unguarded()
        try:
            self.guard = KernelGuard(config.cluster)
            self._make_all(config)
            self._install()
        except GuardUnsupported as error:
            self._without_guard(config, error)
        except ProviderError as error:
            raise LocalError(str(error)) from error

    def _without_guard(self, config: Config, error: GuardUnsupported) -> None:
        self.guard = Unguarded()
        self._make_all(config)
        problems = list(timing_problems(config, LIFETIME_OVERSHOOT))
        if problems:
            raise ConfigError(problems)
        _log.warning("no guard, the lifetime of addresses alone must do: %s", error)

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
        """Take the guard away, after everything was unbound."""
        self.guard.remove()

    # --- configuration ---

    async def reconfigure(self, fresh: Config) -> list[str]:
        """Apply the difference. Returns the groups whose addresses changed. Raises LocalError, and nothing changed."""
        before, changed = self._config, []
        kept = dict(self.groups)
        try:
            for name, group in fresh.groups.items():
                old = before.groups.get(name)
                if old is None or (old.vips, old.providers) != (group.vips, group.providers):
                    self.groups[name] = self._make(name, group, fresh.node)
                    changed.append(name)
                elif old.hooks != group.hooks:
                    self.groups[name].hooks = _hooks(group)
            self._config = fresh
            self._install()
        except ProviderError as error:
            self.groups, self._config = kept, before
            raise LocalError(str(error)) from error
        for name in changed:
            if name in kept:
                await self._drop_old(name, kept[name], before.groups[name], fresh.groups[name])
        return changed

    async def _drop_old(self, name: str, old: GroupSteps, before: Group, after: Group) -> None:
        """Unbind what the group no longer has; addresses that stay are not touched."""
        steps = old
        if before.providers == after.providers:
            gone = tuple(vip for vip in before.vips if vip not in after.vips)
            if not gone:
                return
            steps = self._make(name, before.model_copy(update={"vips": gone}), self._config.node)
        try:
            await steps.unbind()
        except (ProviderError, TimeoutError) as error:
            _log.warning("group %s: what was configured before cannot be unbound: %s", name, error)

    def settle(self, state: State) -> None:
        """Follow the core: what is active may drift; what is configured no longer and given up is let go of."""
        self._active = frozenset(name for name, group in state.groups.items() if group.role is Role.ACTIVE)
        gone = [name for name in self.groups if name not in self._config.groups and name not in state.groups]
        for name in gone:
            del self.groups[name]
        if gone:
            self._install()

    def _make_all(self, config: Config) -> None:
        self.groups.clear()
        for name, group in config.groups.items():
            try:
                self.groups[name] = self._make(name, group, config.node)
            except ProviderError as error:
                raise ConfigError([config.problem(("groups", name, "providers"), str(error))]) from error

    def _make(self, name: str, group: Group, node: str) -> GroupSteps:
        providers = [self._provider(plugin, name, group) for plugin in group.providers]
        return GroupSteps(
            group=name, node=node, providers=providers, hooks=_hooks(group), guard=self.guard, clock=self._clock
        )

    def _provider(self, plugin: Plugin, name: str, group: Group) -> Provider:
        kind = provider_type(auto_type() if plugin.type == AUTO else plugin.type)
        options = kind.Options() if plugin.type == AUTO else plugin.options
        provider = kind.open(options, group=name, vips=group.vips, clock=self._clock)
        if hasattr(provider, "unguarded"):
            provider.unguarded = isinstance(self.guard, Unguarded)
        return provider

    def _plan(self) -> Plan:
        return {name: guarded for name, steps in self.groups.items() if (guarded := _guarded(steps.providers))}

    def _install(self) -> None:
        for interface in self.guard.install(self._plan()):
            _log.warning("interface %s is not there, so nothing can be bound to it yet", interface)

    # --- what the kernel says ---

    async def watch(self, post: Callable[[ev.Event], None], fitness: Fitness) -> None:
        """Report what others change in this kernel, as they do; and look now and then, should a word be lost."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look(post))
            table, port = ("", 0) if isinstance(self.guard, Unguarded) else (self.guard.table, self.guard.port)
            async for change in changes(table, port):
                await self._changed(change, post, fitness)

    async def _look(self, post: Callable[[ev.Event], None]) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._check_guard(post)

    async def _changed(self, change: Change, post: Callable[[ev.Event], None], fitness: Fitness) -> None:
        what = f"{change.kind}: {change.interface or change.detail}"
        match change.kind:
            case Kind.LINK_DOWN | Kind.LINK_GONE:
                for name in self._on(change.interface):
                    fitness.link_down(name, change.interface)
            case Kind.LINK_UP | Kind.LINK_NEW:
                self._install()
                for name in self._on(change.interface):
                    fitness.link_up(name, change.interface)
                self._drifted(self._on(change.interface), what, post)
            case Kind.ADDRESS_GONE:
                self._drifted(self._with(change.detail), what, post)
            case Kind.GUARD_CHANGED:
                await self._check_guard(post)
            case Kind.OVERFLOW:
                await self._check_guard(post)
                self._drifted(list(self.groups), what, post)

    def _with(self, address: str) -> list[str]:
        """The groups that have this address."""
        groups = self._config.groups.items()
        return [name for name, group in groups if any(str(vip.ip) == address for vip in group.vips)]

    def _on(self, interface: str) -> list[str]:
        """The groups that are bound to this interface."""
        bound = ((name, getattr(p, "interfaces", ())) for name, steps in self.groups.items() for p in steps.providers)
        return [name for name, interfaces in bound if interface in interfaces]

    def _drifted(self, names: Iterable[str], what: str, post: Callable[[ev.Event], None]) -> None:
        for name in self._active.intersection(names):
            post(ev.Drifted(name, what))

    async def _check_guard(self, post: Callable[[ev.Event], None]) -> None:
        try:
            await self.guard.inspect()
        except GuardMissing:
            _log.warning("somebody changed or removed the guard: it is installed again, shut")
            self._install()
            post(ev.GuardLost())
        except ProviderError as error:
            _log.warning("the guard cannot be read: %s", error)


def _hooks(group: Group) -> HookCommands:
    return HookCommands(group.hooks.promote, group.hooks.demote, group.hooks.timeout_seconds)


def _guarded(providers: Iterable[Provider]) -> Guarded | None:
    """What the providers bind in this kernel, all together."""
    parts: list[Any] = [provider.guarded() for provider in providers if hasattr(provider, "guarded")]
    if not parts:
        return None
    vips = dict.fromkeys(vip for part in parts for vip in part.vips)
    interfaces = dict.fromkeys(interface for part in parts for interface in part.interfaces)
    return Guarded(tuple(vips), tuple(interfaces))
