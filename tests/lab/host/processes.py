"""What has become of a process, and waiting for it."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

LIVENESS = 60.0  # seconds; generous: this machine may have more to do


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


def freeze(process: subprocess.Popen[bytes]) -> None:
    """Stop it, and wait until each of its threads has. Raises TimeoutError."""
    process.send_signal(signal.SIGSTOP)
    end = time.monotonic() + LIVENESS
    while any(_state(task / "stat") not in "TZ" for task in Path(f"/proc/{process.pid}/task").iterdir()):
        if time.monotonic() > end:
            raise TimeoutError(f"{process.args!r} does not stop")
        time.sleep(0.001)


def _state(stat: Path) -> str:
    return stat.read_text().rpartition(")")[2].split()[0]


def ended(pid: int) -> bool:
    """Whether the process is gone, or only waits for init to reap it."""
    try:
        return _state(Path(f"/proc/{pid}/stat")) == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
