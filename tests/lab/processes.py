"""What has become of a process, and waiting for it."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

LIVENESS = 20.0  # seconds; generous


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that nobody tells. Raises TimeoutError."""
    async with asyncio.timeout(LIVENESS):
        while not holds():  # noqa: ASYNC110  (that is the point)
            await asyncio.sleep(0.005)


def written(path: Path) -> bool:
    """Whether a process has written a whole line there."""
    return path.exists() and path.read_text().endswith("\n")


def reaped(pid: int) -> bool:
    """Whether there is no such process, not even a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def ended(pid: int) -> bool:
    """Whether the process is gone, or only waits for init to reap it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
