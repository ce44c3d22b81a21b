"""The clock that the contracts give to providers. It stands still until a test advances it."""

from __future__ import annotations


class LogicalClock:
    """A clock in seconds that only tests advance, so that no contract depends on the speed of the machine."""

    def __init__(self, now: float = 1000.0) -> None:
        """`now`: the first reading. Its value has no meaning."""
        self.now = now

    def __call__(self) -> float:
        """Return the present reading."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.now += seconds
