"""Clocks that a test sets, so that a deadline ends when the test says so and not by the speed of the machine."""

import asyncio


class HandClock:
    """Seconds, as CLOCK_BOOTTIME would give them: they stand still until the test adds some to `now`.

    Where there is a `step`, each reading takes so many seconds.
    """

    def __init__(self, now: float = 1000.0, *, step: float = 0.0) -> None:
        self.now = now
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def put_forward(seconds: float) -> None:
    """Let the clock of the running loop jump ahead: what it was to do within so many seconds is due now."""
    loop = asyncio.get_running_loop()
    before = loop.time
    loop.time = lambda: before() + seconds  # type: ignore[method-assign]
