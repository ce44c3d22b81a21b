"""The daemon's only clock: CLOCK_BOOTTIME, which also runs while the machine is suspended and never jumps."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

Clock = Callable[[], float]


def boottime() -> float:
    """Return the seconds since this machine booted, time in suspend included (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Return the name of this boot (random(4)). Readings of the clock are comparable only within one boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
