"""Pauses between retries of a call."""

from __future__ import annotations

from random import Random


class Pauses:
    """Pauses with full jitter: random, from zero up to a bound that doubles (AWS: "Exponential Backoff And Jitter").

    So callers that were refused at the same time do not return at the same time.
    """

    def __init__(self, random: Random, first: float, longest: float) -> None:
        """`first` is the first bound and `longest` the highest, both in seconds."""
        self._random = random
        self._bound = first
        self._longest = longest

    def next(self, least: float | None = None) -> float:
        """Return the next pause in seconds. `least` is the pause that the refusing server asked for, if it did."""
        pause = self._random.uniform(0.0, self._bound)
        self._bound = min(2 * self._bound, self._longest)
        return max(pause, least or 0.0)
