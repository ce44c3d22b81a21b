"""True time and what happens in it, in order; the clocks that see it; how long things take when nobody disturbs them."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

from controller.core.events import Step

if TYPE_CHECKING:
    from collections.abc import Callable


class Violation(Exception):  # noqa: N818  (what the search is for, not an error of the search)
    """A promise that did not hold; the message says which, where and when."""


class World:
    """True time in seconds, and a heap of what is to come."""

    def __init__(self) -> None:
        self.now = 0.0
        self.happened = 0
        self._order = count()
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []

    def after(self, delay: float, call: Callable[..., object], *args: Any) -> None:
        """Have it happen `delay` true seconds from now, after everything that was put there before."""
        heappush(self._heap, (self.now + delay, next(self._order), call, args))

    def run(self, until: float) -> None:
        """Let everything happen that happens no later than `until`."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, call, args = heappop(heap)
            self.happened += 1
            call(*args)
        self.now = until


@dataclass(frozen=True, slots=True)
class Clock:
    """One boot's CLOCK_BOOTTIME: `rate` local seconds per true second."""

    offset: float
    rate: float

    def at(self, true: float) -> float:
        """What the clock shows at a moment of true time."""
        return self.offset + self.rate * true

    def true(self, local: float) -> float:
        """When the clock shows this."""
        return (local - self.offset) / self.rate


class Weather:
    """How long things take, and what goes wrong by itself: here nothing does, and everything takes its fixed time."""

    def trip(self) -> float:
        """Seconds one way between a node and the store."""
        return 0.005

    def lost(self) -> bool:
        """Whether this message never arrives."""
        return False

    def copies(self) -> tuple[float, ...]:
        """After how many seconds further copies of this request land."""
        return ()

    def hinted(self) -> bool:
        """Whether a watch reports this change."""
        return True

    def told(self) -> bool:
        """Whether the watch says what the change was."""
        return True

    def loop(self) -> float:
        """Seconds between two steps of a daemon that is not disturbed."""
        return 0.0002

    def overshoot(self, longest: float) -> float:
        """How late the kernel ends this timer."""
        return longest

    def kernel(self) -> tuple[bool, str | None]:
        """Whether this call into the kernel takes effect, and the error that the caller sees."""
        return True, None

    def step(self, step: Step) -> tuple[float, str | None]:
        """How many seconds a step takes, and how it fails."""
        return _USUAL[step], None


_USUAL = {
    Step.BIND: 0.01,
    Step.ANNOUNCE: 0.001,
    Step.PROMOTE: 0.05,
    Step.DEMOTE: 0.05,
    Step.RESET: 0.005,
    Step.SHUT: 0.001,
    Step.REFRESH: 0.002,
}


class Storm(Weather):
    """Weather by a seed: every number is drawn, and faults turn the probabilities up and down."""

    def __init__(self, rng: Random, usual_trip: float) -> None:
        self._rng = rng
        self._usual_trip = usual_trip
        self.settle()

    def settle(self) -> None:
        """From here on nothing is lost, late or failing."""
        self.slow = self.lose = self.copy = self.fail = self.kernel_fail = self.deaf = self.terse = 0.0
        self.slowest = 0.0

    def trip(self) -> float:
        if self.slow and self._rng.random() < self.slow:
            return self._rng.random() * self.slowest
        return self._usual_trip * (0.5 + self._rng.random())

    def lost(self) -> bool:
        return self.lose > 0 and self._rng.random() < self.lose

    def copies(self) -> tuple[float, ...]:
        if self.copy and self._rng.random() < self.copy:
            return (self._rng.random() * self.slowest,)
        return ()

    def hinted(self) -> bool:
        return self._rng.random() >= self.deaf

    def told(self) -> bool:
        return self._rng.random() >= self.terse

    def loop(self) -> float:
        return self._rng.random() * 0.001

    def overshoot(self, longest: float) -> float:
        return self._rng.choice((0.0, longest, longest * self._rng.random()))

    def kernel(self) -> tuple[bool, str | None]:
        if self.kernel_fail and self._rng.random() < self.kernel_fail:
            return self._rng.random() < 0.5, "ENOBUFS"
        return True, None

    def step(self, step: Step) -> tuple[float, str | None]:
        seconds = _USUAL[step] * (0.5 + self._rng.random())
        if self.fail and self._rng.random() < self.fail:
            return seconds * self._rng.choice((1, 100)), self._rng.choice((None, "it did not work"))
        return seconds, None
