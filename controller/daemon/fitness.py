"""Decides whether this node is fit to serve a group, from the group's checks and what its VIPs need of this host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from controller.core.events import Judged

LINK_DOWN_SECONDS = 1.0  # a link that is down for longer makes the node unfit; a shorter flap only announces again


@dataclass(slots=True)
class _Group:
    """What is known of one group. `checks` is None until the checks have answered."""

    checks: bool | None = None
    why: str = ""
    down: set[str] = field(default_factory=set)
    missing: str = ""
    told: tuple[bool, str] | None = None


class Fitness:
    """Combines the verdicts of checks and links, and posts each change of the result."""

    def __init__(self, post: Callable[[Judged], None]) -> None:
        self._post = post
        self._groups: dict[str, _Group] = {}
        self._pending: dict[tuple[str, str], asyncio.TimerHandle] = {}

    def checked(self, name: str, healthy: bool, why: str) -> None:
        """Take note of the verdict of the group's checks."""
        group = self._groups.setdefault(name, _Group())
        group.checks, group.why = healthy, why
        self._tell(name, group)

    def links(self, name: str, down: frozenset[str]) -> None:
        """Replace what is known of the group's links: those in `down` have no carrier, all others have."""
        for key in [key for key in self._pending if key[0] == name]:
            self._pending.pop(key).cancel()
        group = self._groups.setdefault(name, _Group())
        group.down = set(down)
        self._tell(name, group)

    def missing(self, name: str, what: str) -> None:
        """Take note of what this host lacks for the group; empty: nothing."""
        group = self._groups.setdefault(name, _Group())
        group.missing = what
        self._tell(name, group)

    def keep(self, names: Collection[str]) -> None:
        """Forget all other groups. A group that is configured again later starts without a verdict."""
        for key in [key for key in self._pending if key[0] not in names]:
            self._pending.pop(key).cancel()
        self._groups = {name: group for name, group in self._groups.items() if name in names}

    def link_up(self, name: str, interface: str) -> None:
        """Take note that an interface of the group has its carrier again."""
        waiting = self._pending.pop((name, interface), None)
        if waiting is not None:
            waiting.cancel()
        group = self._groups.setdefault(name, _Group())
        group.down.discard(interface)
        self._tell(name, group)

    def link_down(self, name: str, interface: str) -> None:
        """Take note that an interface of the group has lost its carrier or is gone."""
        if (name, interface) not in self._pending:
            loop = asyncio.get_running_loop()
            self._pending[name, interface] = loop.call_later(LINK_DOWN_SECONDS, self._mark_down, name, interface)

    def _mark_down(self, name: str, interface: str) -> None:
        self._pending.pop((name, interface), None)
        group = self._groups.setdefault(name, _Group())
        group.down.add(interface)
        self._tell(name, group)

    def _tell(self, name: str, group: _Group) -> None:
        if group.checks is None:
            return
        verdict = (group.checks, group.why)
        if group.down:
            verdict = (False, f"no carrier: {', '.join(sorted(group.down))}")
        if group.missing:
            verdict = (False, group.missing)
        if verdict != group.told:
            group.told = verdict
            self._post(Judged(name, *verdict))
