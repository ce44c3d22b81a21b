"""Keeps the steps of every group across reloads: which are made anew, which stay, which must still be unbound."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from controller.config.model import Config, Group
from controller.config.plugins import Plugin
from controller.config.problem import ConfigError, StartError
from controller.core.claims import may_use
from controller.core.state import State
from controller.daemon.awaited import Awaited
from controller.daemon.clock import Clock
from controller.daemon.opening import open_provider
from controller.daemon.steps import GroupSteps, HookCommands
from providers.base import Guard, Guardable, Guarded, NotYet, Plan, Provider, ProviderError, Unanswered, Unguardable
from providers.linux.unguarded import Unguarded

_log = logging.getLogger("anyvip")


@dataclass(frozen=True, slots=True)
class Bound:
    """A group's steps, and the configuration that they were made from."""

    name: str
    group: Group
    steps: GroupSteps
    missing: str = ""  # what must come before its providers can be opened; empty: they are open

    @property
    def moves(self) -> frozenset[str]:
        """What the group moves, as tokens: its VIPs without their prefix lengths, and what its providers name."""
        named = (claimer.moves for claimer in self.steps.able.claimers)
        return frozenset(str(vip.ip) for vip in self.group.vips).union(*named)

    def binds_like(self, group: Group) -> bool:
        """Return whether these steps also bind the group as it is configured in `group`."""
        return not self.missing and (self.group.vips, self.group.providers) == (group.vips, group.providers)


class Groups:
    """The steps that make the VIPs of each configured group lead here."""

    def __init__(self, guard: Guard, clock: Clock, granted: Callable[[str], float | None]) -> None:
        """`granted` returns when a group's grant ends, or None."""
        self.steps: dict[str, GroupSteps] = {}  # changed in place: the executor holds this mapping
        self.serving: frozenset[str] = frozenset()  # groups that might be open
        self._guard = guard
        self._clock = clock
        self._granted = granted
        self._bound: dict[str, Bound] = {}
        self._waiting: dict[str, Bound] = {}  # configured, but not in place yet
        self.replaced: list[Bound] = []  # no longer in place, but still bound, so still guarded
        self._unused: asyncio.Queue[GroupSteps] = asyncio.Queue()
        self._by_address: Mapping[str, list[str]] = {}
        self.overlapping = False  # whether groups share an address, as while one is renamed

    # --- configuration ---

    def begin(self, config: Config) -> None:
        """Make all groups. Raises ConfigError when one is impossible, StartError when a later attempt can succeed."""
        made = []
        for name, group in config.groups.items():
            try:
                made.append(self._make(name, group, config.node))
            except Unanswered as error:  # asking again takes seconds, so a running daemon does not
                raise StartError(f"group {name}: {error}") from error
            except ProviderError as error:
                raise ConfigError([config.problem(("groups", name, "providers"), str(error))]) from error
        self.take(made)

    def anew(self, fresh: Config) -> list[Bound]:
        """Make the groups that `fresh` binds differently, and return them. Raises what their providers raise."""
        made: list[Bound] = []
        try:
            for name, group in fresh.groups.items():
                known = [some[name] for some in (self._bound, self._waiting) if name in some]
                if not any(bound.binds_like(group) for bound in known):
                    made.append(self._make(name, group, fresh.node))
        except BaseException:
            self.discard(made)
            raise
        return made

    def take(self, made: Iterable[Bound]) -> None:
        """Put groups in place that were made anew."""
        for bound in made:
            if bound.name in self._bound:
                self.replaced.append(self._bound[bound.name])
            self._bound[bound.name] = bound
            self.steps[bound.name] = bound.steps
        self._index()

    def _index(self) -> None:
        by_address = defaultdict(list)
        for name, bound in self._bound.items():
            for vip in bound.group.vips:
                by_address[str(vip.ip)].append(name)
        self._by_address = by_address
        self.overlapping = any(len(names) > 1 for names in by_address.values())

    def configure(self, fresh: Config, made: Iterable[Bound]) -> None:
        """Put new groups in place. Those that replace others wait until `ready` names them."""
        changed = {bound.name: bound for bound in made}
        self.take(bound for name, bound in changed.items() if name not in self._bound)
        waiting = {}
        for name, group in fresh.groups.items():
            bound = changed.get(name) or self._waiting.get(name)
            if bound is not None and not self._bound[name].binds_like(group):
                waiting[name] = bound
            for known in (self._bound[name], *([bound] if bound else [])):
                known.steps.hooks = _hooks(group)
        self.discard(old for name, old in self._waiting.items() if waiting.get(name) is not old)
        self._waiting = waiting

    def ready(self, state: State) -> list[Bound]:
        """Return the groups that can be put in place now: their addresses are clear, or their group is shut."""
        return [bound for name, bound in self._waiting.items() if may_use(state, name, bound.moves)]

    def switch(self, ready: Iterable[Bound]) -> None:
        """Put groups in place that have waited. The caller then calls `let_go`."""
        for bound in ready:
            self.take([self._waiting.pop(bound.name)])

    def find_missing(self, name: str) -> str:
        """Return what must come before the group's providers can be opened; empty if they are open."""
        return self._bound[name].missing

    def open_missing(self, config: Config) -> list[str]:
        """Try again to open what could not be opened. The groups that could be, which are returned, wait for `ready`.

        Raises what their providers raise.
        """
        if not any(bound.missing for bound in self._bound.values()):
            return []
        made = self.anew(config)
        opened = [bound for bound in made if not bound.missing]
        self.discard(bound for bound in made if bound.missing)
        self.configure(config, opened)
        return [bound.name for bound in opened]

    def tokens(self, name: str) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
        """Return all that the group moves or is to move, what it moves now, and what of that is to go."""
        before = [old.moves for old in self.replaced if old.name == name]
        now = self._bound[name].moves
        coming = self._waiting[name].moves if name in self._waiting else now
        return coming | now.union(*before), now.union(*before), now - coming

    def discard(self, made: Iterable[Bound]) -> None:
        """Close groups that were made and are not used after all."""
        for bound in made:
            self._unused.put_nowait(bound.steps)

    def drop(self, names: Iterable[str]) -> None:
        """Remove groups that are no longer configured and that this node has given up."""
        for name in names:
            del self.steps[name]
            self._unused.put_nowait(self._bound.pop(name).steps)
        self._index()

    async def let_go(self) -> None:
        """Unbind what groups no longer have. VIPs that stay are not touched. What cannot be unbound stays guarded."""
        for old in list(self.replaced):
            try:
                await self._unbind(old, self._bound.get(old.name))
            except Exception as error:  # noqa: BLE001  (no exception of a plugin may end the daemon)
                _log.warning("group %s: cannot unbind what was configured before the reload: %s", old.name, error)
            else:
                self.replaced = [other for other in self.replaced if other is not old]

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
        served = [bound for bound in (*self.replaced, *self._bound.values()) if bound.name in self.serving]
        owners |= {vip.ip: bound.name for bound in served for vip in bound.group.vips}  # until it is shut there
        before = [*self.replaced, *(bound for name, bound in self._bound.items() if name in fresh)]
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
        opened: list[Provider] = []
        try:
            opened.extend(self._provider(plugin, name, group) for plugin in group.providers)
        except NotYet as error:
            self._unused.put_nowait(self._make_steps(name, group, node, opened))
            return Bound(name, group, self._make_steps(name, group, node, [Awaited(str(error))]), str(error))
        return Bound(name, group, self._make_steps(name, group, node, opened))

    def _make_steps(self, name: str, group: Group, node: str, providers: Sequence[Provider]) -> GroupSteps:
        return GroupSteps(
            group=name,
            node=node,
            providers=providers,
            hooks=_hooks(group),
            guard=self._guard,
            clock=self._clock,
            granted=self._granted,
        )

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
