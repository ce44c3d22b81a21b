"""How long to wait before a call is made again."""

from __future__ import annotations

from random import Random


class Pauses:
    """Full jitter: each is anything from nothing up to a bound, which doubles (AWS: "Exponential Backoff And Jitter").

    So many who were refused at once do not come back at once.
    """

    def __init__(self, random: Random, first: float, longest: float) -> None:
        """`first` bound and `longest`: seconds."""
        self._random = random
        self._bound = first
        self._longest = longest

    def next(self, least: float | None = None) -> float:
        """Seconds. `least`: as the one who refused asks for, if it does."""
        pause = self._random.uniform(0.0, self._bound)
        self._bound = min(2 * self._bound, self._longest)
        return max(pause, least or 0.0)
