"""Time as the contracts tell it to a provider: it stands still until a test moves it on."""

from __future__ import annotations


class LogicalClock:
    """What a provider is given as its clock, in seconds. No test of a contract asks how fast the machine is."""

    def __init__(self, now: float = 1000.0) -> None:
        """`now`: where it begins; any other moment would do."""
        self.now = now

    def __call__(self) -> float:
        """What time it is."""
        return self.now

    def advance(self, seconds: float) -> None:
        """From now on it is so much later."""
        self.now += seconds
