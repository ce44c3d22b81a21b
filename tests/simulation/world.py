"""True time and the events in it, the nodes' clocks, and the weather: how long things take and what fails by itself."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

from controller.core.events import Step

if TYPE_CHECKING:
    from collections.abc import Callable


class Violation(Exception):  # noqa: N818  (the search looks for it; it is not an error of the search)
    """A promise did not hold. The message names the promise and the hosts."""


class World:
    """True time in seconds, and a heap of the events to come."""

    def __init__(self) -> None:
        self.now = 0.0
        self.happened = 0
        self._order = count()
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []

    def after(self, delay: float, call: Callable[..., object], *args: Any) -> None:
        """Schedule a call in `delay` true seconds, after everything that was scheduled for that moment before."""
        heappush(self._heap, (self.now + delay, next(self._order), call, args))

    def run(self, until: float) -> None:
        """Run all calls up to and including the moment `until`."""
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
        """Return what the clock shows at a moment of true time."""
        return self.offset + self.rate * true

    def true(self, local: float) -> float:
        """Return the true time at which the clock shows `local`."""
        return (local - self.offset) / self.rate


class Weather:
    """How long things take and what fails by itself. In fair weather nothing fails and every duration is fixed."""

    def trip(self) -> float:
        """Return the seconds for one way between a node and the store."""
        return 0.005

    def lost(self) -> bool:
        """Decide whether this message never arrives."""
        return False

    def copies(self) -> tuple[float, ...]:
        """Return the seconds after which further copies of this request land."""
        return ()

    def hinted(self) -> bool:
        """Decide whether a watch reports this change."""
        return True

    def told(self) -> bool:
        """Decide whether the watch's report contains the changed record."""
        return True

    def loop(self) -> float:
        """Return the seconds between two steps of an undisturbed daemon."""
        return 0.0002

    def overshoot(self, longest: float) -> float:
        """Return how late the kernel ends this timer, in seconds."""
        return longest

    def kernel(self) -> tuple[bool, str | None]:
        """Decide whether this call into the kernel takes effect, and which error the caller sees."""
        return True, None

    def step(self, step: Step) -> tuple[float, str | None]:
        """Return the seconds that a step takes, and its error."""
        return _USUAL[step], None


_USUAL = {
    Step.BIND: 0.01,
    Step.PREPARE: 1.0,
    Step.ANNOUNCE: 0.001,
    Step.PROMOTE: 0.05,
    Step.DEMOTE: 0.05,
    Step.RESET: 0.005,
    Step.SHUT: 0.001,
    Step.CLEANUP: 0.5,
    Step.REFRESH: 0.002,
}


class Storm(Weather):
    """Weather drawn from a seed. Faults raise and lower its probabilities."""

    def __init__(self, rng: Random, usual_trip: float) -> None:
        self._rng = rng
        self._usual_trip = usual_trip
        self.settle()

    def settle(self) -> None:
        """End the storm: from now on nothing is lost, late or failing."""
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
        usual = min(_USUAL[step], 0.1)  # or a slow hook that began in the storm would outlast it for too long
        seconds = usual * (0.5 + self._rng.random())
        if self.fail and self._rng.random() < self.fail:
            return seconds * self._rng.choice((1, 100)), self._rng.choice((None, "it did not work"))
        return seconds, None
