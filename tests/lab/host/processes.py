"""The state of processes, and waiting for it."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

LIVENESS = 60.0  # seconds, generous because the machine can be busy


async def until(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds that sends no event. Raises TimeoutError."""
    async with asyncio.timeout(LIVENESS):
        while not holds():  # noqa: ASYNC110  (polling is intended)
            await asyncio.sleep(0.005)


def written(path: Path) -> bool:
    """Report whether a process has written a whole line to the file."""
    return path.exists() and path.read_text().endswith("\n")


def reaped(pid: int) -> bool:
    """Report whether there is no such process, not even a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def freeze(process: subprocess.Popen[bytes]) -> None:
    """Stop a process, and wait until all its threads have stopped. Raises TimeoutError."""
    process.send_signal(signal.SIGSTOP)
    end = time.monotonic() + LIVENESS
    while any(_state(task / "stat") not in "TZ" for task in Path(f"/proc/{process.pid}/task").iterdir()):
        if time.monotonic() > end:
            raise TimeoutError(f"{process.args!r} does not stop")
        time.sleep(0.001)


def _state(stat: Path) -> str:
    return stat.read_text().rpartition(")")[2].split()[0]


def ended(pid: int) -> bool:
    """Report whether the process is gone or only waits for init to reap it."""
    try:
        return _state(Path(f"/proc/{pid}/stat")) == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
