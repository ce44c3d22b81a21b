"""Clocks that a test sets, so that deadlines do not depend on the speed of the machine."""

import asyncio


class HandClock:
    """A clock in seconds, like CLOCK_BOOTTIME, that stands still until the test adds to `now`.

    Each reading advances the clock by `step` seconds.
    """

    def __init__(self, now: float = 1000.0, *, step: float = 0.0) -> None:
        self.now = now
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def put_forward(seconds: float) -> None:
    """Advance the running loop's clock, so that everything scheduled within these seconds is due now."""
    loop = asyncio.get_running_loop()
    before = loop.time
    loop.time = lambda: before() + seconds  # type: ignore[method-assign]
