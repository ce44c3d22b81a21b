"""Keeps the steps of every group across reloads: which are made anew, which stay, which must still be unbound."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from controller.config.model import Config, Group
from controller.config.plugins import Plugin
from controller.config.problem import ConfigError, StartError
from controller.daemon.clock import Clock
from controller.daemon.opening import open_provider
from controller.daemon.steps import GroupSteps, HookCommands
from providers.base import Guard, Guardable, Guarded, Plan, Provider, ProviderError, Unanswered, Unguardable
from providers.linux.unguarded import Unguarded

_log = logging.getLogger("anyvip")


@dataclass(frozen=True, slots=True)
class Bound:
    """A group's steps, and the configuration that they were made from."""

    name: str
    group: Group
    steps: GroupSteps

    def binds_like(self, group: Group) -> bool:
        """Return whether these steps also bind the group as it is configured in `group`."""
        return (self.group.vips, self.group.providers) == (group.vips, group.providers)


class Groups:
    """The steps that make the VIPs of each configured group lead here."""

    def __init__(self, guard: Guard, clock: Clock, granted: Callable[[str], float | None]) -> None:
        """`granted` returns when a group's grant ends, or None."""
        self.steps: dict[str, GroupSteps] = {}  # changed in place: the executor holds this mapping
        self._guard = guard
        self._clock = clock
        self._granted = granted
        self._bound: dict[str, Bound] = {}
        self._replaced: list[Bound] = []  # from before a reload: still bound, so still guarded
        self._unused: asyncio.Queue[GroupSteps] = asyncio.Queue()
        self._by_address: Mapping[str, list[str]] = {}

    # --- configuration ---

    def begin(self, config: Config) -> None:
        """Make all groups. Raises ConfigError when one is impossible, StartError when a later attempt can succeed."""
        made = []
        for name, group in config.groups.items():
            try:
                made.append(self._make(name, group, config.node))
            except Unanswered as error:
                raise StartError(f"group {name}: {error}") from error
            except ProviderError as error:
                raise ConfigError([config.problem(("groups", name, "providers"), str(error))]) from error
        self.take(config, made)

    def anew(self, fresh: Config) -> list[Bound]:
        """Make the groups that `fresh` binds differently, and return them. Raises what their providers raise."""
        made: list[Bound] = []
        try:
            for name, group in fresh.groups.items():
                if name not in self._bound or not self._bound[name].binds_like(group):
                    made.append(self._make(name, group, fresh.node))
        except BaseException:
            self.discard(made)
            raise
        return made

    def take(self, fresh: Config, made: Iterable[Bound]) -> None:
        """Switch to this configuration and to the groups that were made for it."""
        for bound in made:
            if bound.name in self._bound:
                self._replaced.append(self._bound[bound.name])
            self._bound[bound.name] = bound
            self.steps[bound.name] = bound.steps
        by_address = defaultdict(list)
        for name, group in fresh.groups.items():
            self.steps[name].hooks = _hooks(group)
            for vip in group.vips:
                by_address[str(vip.ip)].append(name)
        self._by_address = by_address

    def discard(self, made: Iterable[Bound]) -> None:
        """Close groups that were made and are not used after all."""
        for bound in made:
            self._unused.put_nowait(bound.steps)

    def drop(self, names: Iterable[str]) -> None:
        """Remove groups that are no longer configured and that this node has given up."""
        for name in names:
            del self.steps[name]
            self._unused.put_nowait(self._bound.pop(name).steps)

    async def let_go(self) -> None:
        """Unbind what groups no longer have. VIPs that stay are not touched."""
        replaced, self._replaced = self._replaced, []
        for old in replaced:
            try:
                await self._unbind(old, self._bound.get(old.name))
            except Exception as error:  # noqa: BLE001  (no exception of a plugin may end the daemon)
                _log.warning("group %s: cannot unbind what was configured before the reload: %s", old.name, error)

    async def _unbind(self, old: Bound, now: Bound | None) -> None:
        if now is None or old.group.providers != now.group.providers:
            await old.steps.unbind()
            await old.steps.close()
            return
        await old.steps.close()  # first: its calls under way could bind once more
        gone = tuple(vip for vip in old.group.vips if vip not in now.group.vips)
        if gone:
            last = self._make(old.name, old.group.model_copy(update={"vips": gone}), "")
            try:
                await last.steps.unbind()
            finally:
                await last.steps.close()

    async def close_unused(self) -> None:
        """Release what discarded and dropped groups hold, until cancelled."""
        while True:
            steps = await self._unused.get()
            try:
                await steps.close()
            except Exception as error:  # noqa: BLE001  (likewise)
                _log.warning("group %s: cannot close its providers: %s", steps.group, error)

    # --- queries ---

    def plan(self, made: Iterable[Bound] = ()) -> Plan:
        """Return what the guard must keep shut once `made` is taken, with what those groups had before.

        Raises ProviderError.
        """
        fresh = {bound.name: bound for bound in made}
        coming = {**self._bound, **fresh}
        owners = {vip.ip: name for source in (self._bound, fresh) for name, b in source.items() for vip in b.group.vips}
        before = [*self._replaced, *(bound for name, bound in self._bound.items() if name in fresh)]
        guardable = {name: list(bound.steps.able.guarded) for name, bound in coming.items()}
        for old in before:
            guardable.get(old.name, []).extend(old.steps.able.guarded)
        plan = {}
        for name, some in guardable.items():
            guarded = _merge_guarded(some)
            vips = tuple(vip for vip in guarded.vips if owners.get(vip.ip, name) == name)
            plan[name] = Guarded(vips, guarded.interfaces)
        return plan

    def with_address(self, address: str) -> list[str]:
        """Return the groups that have this address, from an index: a thousand addresses can go at the same time."""
        return self._by_address.get(address, [])

    def on(self, interface: str) -> list[str]:
        """Return the groups that are bound to this interface."""
        return [name for name in self.steps if interface in self.interfaces(name)]

    def interfaces(self, name: str) -> frozenset[str]:
        """Return the interfaces that the group is bound to."""
        return frozenset(i for provider in self.steps[name].able.linked for i in provider.interfaces)

    def _make(self, name: str, group: Group, node: str) -> Bound:
        providers = [self._provider(plugin, name, group) for plugin in group.providers]
        steps = GroupSteps(
            group=name,
            node=node,
            providers=providers,
            hooks=_hooks(group),
            guard=self._guard,
            clock=self._clock,
            granted=self._granted,
        )
        return Bound(name, group, steps)

    def _provider(self, plugin: Plugin, name: str, group: Group) -> Provider:
        provider = open_provider(plugin, group=name, vips=group.vips, clock=self._clock)
        if isinstance(provider, Unguardable):
            provider.unguarded = isinstance(self._guard, Unguarded)
        return provider


def _hooks(group: Group) -> HookCommands:
    hooks = group.hooks
    return HookCommands(hooks.promote, hooks.demote, hooks.timeout_seconds, hooks.prepare, hooks.cleanup)


def _merge_guarded(providers: Iterable[Guardable]) -> Guarded:
    """Return all that the providers bind in this kernel. A group that binds nothing here is armed like any other."""
    parts = [provider.guarded() for provider in providers]
    vips = dict.fromkeys(vip for part in parts for vip in part.vips)
    interfaces = dict.fromkeys(interface for part in parts for interface in part.interfaces)
    return Guarded(tuple(vips), tuple(interfaces))
