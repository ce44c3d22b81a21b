"""The one clock: CLOCK_BOOTTIME, which goes on while the machine is suspended and never jumps."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

Clock = Callable[[], float]


def boottime() -> float:
    """Seconds since this machine booted, suspends included (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """A name of this boot: readings of the clock mean something only within it (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
