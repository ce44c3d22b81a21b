"""The kernel: addresses, and a guard of two slots with a timer each. It is independent of daemons and outlives them."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tests.simulation.world import Clock, World


class Kernel:
    """A kernel in which a group's traffic passes while a slot's timer runs in which the group is armed."""

    def __init__(self, world: World, clock: Clock, overshoot: Callable[[], float]) -> None:
        self._world, self._clock, self._overshoot = world, clock, overshoot
        self.ends = [0.0, 0.0]
        self.armed: list[frozenset[str]] = [frozenset(), frozenset()]
        self.bound: set[str] = set()  # groups whose addresses are here
        self.moves: dict[str, frozenset[str]] = {}  # the tokens that the guard knows of each group
        self.prepared: set[str] = set()  # groups whose prepare hook has succeeded since their addresses came

    def start(self, slot: int, seconds: float) -> None:
        """Disarm a slot and start its timer, in one transaction. The timer runs at the rate of this node's clock."""
        self.armed[slot] = frozenset()
        self.ends[slot] = self._world.now + self.lasts(seconds)

    def lasts(self, seconds: float) -> float:
        """Return how long a timer really runs, in true seconds."""
        return seconds / self._clock.rate + self._overshoot()

    def arm(self, slot: int, groups: Collection[str]) -> None:
        """Let these groups pass while the slot's timer runs."""
        self.armed[slot] |= frozenset(groups)

    def shut(self, groups: Collection[str]) -> None:
        """Disarm these groups in both slots."""
        self.armed = [armed - frozenset(groups) for armed in self.armed]

    def shares(self, tokens: frozenset[str]) -> str | None:
        """Return a group that passes and moves one of these tokens."""
        return next((group for group, moved in self.moves.items() if moved & tokens and self.passes(group)), None)

    def clear(self) -> None:
        """Disarm everything."""
        self.armed = [frozenset(), frozenset()]

    def passes(self, group: str) -> bool:
        """Report whether the group's traffic passes at this moment."""
        return self.until(group) > self._world.now

    def until(self, group: str) -> float:
        """Return when the group's traffic stops passing unless something changes, in true seconds."""
        return max((end for end, armed in zip(self.ends, self.armed, strict=True) if group in armed), default=-inf)

    def inspect(self) -> tuple[frozenset[str], int | None]:
        """Return the groups that pass, and the slot that lets traffic pass longest."""
        slots = [slot for slot in (0, 1) if self.ends[slot] > self._world.now and self.armed[slot]]
        passing = frozenset(group for slot in slots for group in self.armed[slot])
        return passing, max(slots, key=lambda slot: self.ends[slot], default=None)
