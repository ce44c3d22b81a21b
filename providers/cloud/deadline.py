"""Until when a cloud may be asked: the one value that carries it, from the grant down to the vendor's own timeout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Final

from providers.base import StaleGrant

LEAST_SECONDS: Final = 0.2  # a call that leaves with less before it would take effect when the grant has ended


@dataclass(slots=True)
class GrantEnd:
    """When a group's grant ends as it is now (CLOCK_BOOTTIME, seconds): a grant is renewed while a move takes long."""

    at: float = inf


@dataclass(frozen=True, slots=True)
class Deadline:
    """When the calls of one purpose are over: at `at` (`clock`, seconds), or when the grant ends, if that is sooner.

    It is a frozen value, and the end of the grant is read anew at each question. A deadline without a grant, such as
    that of a preflight, ends at `at` alone.
    """

    at: float
    clock: Callable[[], float]
    grant: GrantEnd = field(default_factory=GrantEnd)

    @classmethod
    def within(cls, seconds: float, clock: Callable[[], float], grant: GrantEnd | None = None) -> Deadline:
        """So many seconds from now."""
        return cls(clock() + seconds, clock, GrantEnd() if grant is None else grant)

    def waiting(self) -> float:
        """Seconds before `at`, never below zero: so long an answer is waited for, as the grant may be renewed."""
        return max(self.at - self.clock(), 0.0)

    def seconds(self) -> float:
        """Seconds before the end, that of the grant as it is now included; below zero when it has passed."""
        return min(self.at, self.grant.at) - self.clock()

    def left(self) -> float:
        """The same, for a call that is about to leave: its timeout must stay below. Raises StaleGrant: too few."""
        seconds = self.seconds()
        if seconds < LEAST_SECONDS:
            raise StaleGrant(f"{max(seconds, 0.0):.3f} s left, too little for a call")
        return seconds

    def may_be_renewed(self) -> bool:
        """Whether a call comes too late only because the grant as it is now ends soon: it is renewed all the time."""
        return self.clock() < self.grant.at < self.at
