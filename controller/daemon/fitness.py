"""Whether this node may serve a group: its checks, and the links that its addresses need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from controller.core.events import Judged

LINK_DOWN_SECONDS = 1.0  # a link that flaps is announced on again; one that stays down makes the node unfit


@dataclass(slots=True)
class _Group:
    """What is known: `checks` is None until they have answered."""

    checks: bool | None = None
    why: str = ""
    down: set[str] = field(default_factory=set)
    told: tuple[bool, str] | None = None


class Fitness:
    """Puts the verdicts together and posts each change of the whole."""

    def __init__(self, post: Callable[[Judged], None]) -> None:
        self._post = post
        self._groups: dict[str, _Group] = {}
        self._pending: dict[tuple[str, str], asyncio.TimerHandle] = {}

    def checked(self, name: str, healthy: bool, why: str) -> None:
        """The verdict of the group's checks."""
        group = self._groups.setdefault(name, _Group())
        group.checks, group.why = healthy, why
        self._tell(name, group)

    def links(self, name: str, down: frozenset[str]) -> None:
        """Just these of the links that the group needs are down now; what was known before does not count."""
        for key in [key for key in self._pending if key[0] == name]:
            self._pending.pop(key).cancel()
        group = self._groups.setdefault(name, _Group())
        group.down = set(down)
        self._tell(name, group)

    def keep(self, names: Collection[str]) -> None:
        """Forget all other groups: one that is configured again begins anew."""
        for key in [key for key in self._pending if key[0] not in names]:
            self._pending.pop(key).cancel()
        self._groups = {name: group for name, group in self._groups.items() if name in names}

    def link_up(self, name: str, interface: str) -> None:
        """An interface of the group has its carrier again."""
        waiting = self._pending.pop((name, interface), None)
        if waiting is not None:
            waiting.cancel()
        group = self._groups.setdefault(name, _Group())
        group.down.discard(interface)
        self._tell(name, group)

    def link_down(self, name: str, interface: str) -> None:
        """An interface of the group has lost its carrier, or is gone."""
        if (name, interface) not in self._pending:
            loop = asyncio.get_running_loop()
            self._pending[name, interface] = loop.call_later(LINK_DOWN_SECONDS, self._stays_down, name, interface)

    def _stays_down(self, name: str, interface: str) -> None:
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
        if verdict != group.told:
            group.told = verdict
            self._post(Judged(name, *verdict))
