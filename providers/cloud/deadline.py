"""The time until which calls to a cloud are allowed, passed on from the grant down to the vendor's own timeout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Final

from providers.base import StaleGrant

LEAST_SECONDS: Final = 0.2  # a call that leaves with less time left could take effect after the grant's end


@dataclass(slots=True)
class GrantEnd:
    """The end of a group's current grant (CLOCK_BOOTTIME, seconds). Renewals move it, also during a long move."""

    at: float = inf


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of a set of calls: `at` (`clock`, seconds), or the end of the grant if that is sooner.

    The value is frozen, but its methods read the end of the current grant each time. A deadline without a grant, such
    as that of a preflight, ends at `at`.
    """

    at: float
    clock: Callable[[], float]
    grant: GrantEnd = field(default_factory=GrantEnd)

    @classmethod
    def within(cls, seconds: float, clock: Callable[[], float], grant: GrantEnd | None = None) -> Deadline:
        """Return a deadline that is `seconds` from now."""
        return cls(clock() + seconds, clock, GrantEnd() if grant is None else grant)

    def waiting(self) -> float:
        """Return the seconds before `at`, never below zero.

        This is how long to await an answer: the grant can be renewed meanwhile.
        """
        return max(self.at - self.clock(), 0.0)

    def seconds(self) -> float:
        """Return the seconds before `at` or the end of the current grant, whichever is sooner; negative after it."""
        return min(self.at, self.grant.at) - self.clock()

    def left(self) -> float:
        """Return the same seconds, as the limit for the timeout of a call that is about to leave.

        Raises StaleGrant when less than `LEAST_SECONDS` are left.
        """
        seconds = self.seconds()
        if seconds < LEAST_SECONDS:
            raise StaleGrant(f"{max(seconds, 0.0):.3f} s left, too little for a call")
        return seconds

    def may_be_renewed(self) -> bool:
        """Return whether a call is too late only because the current grant ends soon, and it might still be renewed."""
        return self.clock() < self.grant.at < self.at
