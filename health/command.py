"""Run a command in its own process group, under a strict time limit. There is no shell."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from health.errors import AnyvipError
from health.lines import Lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_REAP_SECONDS = 1.0  # a killed process that still exists after this is stuck in the kernel


class CommandError(AnyvipError):
    """The command cannot be started or watched. The message is one line."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the command ended. `status` is negative for a signal. `held`: a process that it left still has its output."""

    status: int
    held: bool

    def __str__(self) -> str:
        return f"exit status {self.status}" if self.status >= 0 else f"ended by signal {-self.status}"


async def run(
    argv: Sequence[str],
    *,
    timeout: float,  # noqa: ASYNC109  (what happens at the time limit is this function's purpose)
    grace: float = 0.0,
    on_line: Callable[[str], None],
    env: Mapping[str, str] | None = None,
) -> Ended:
    """Run the command, and pass each line that it writes to stdout or stderr to `on_line` immediately.

    After `timeout` seconds the command's process group gets SIGTERM, and SIGKILL `grace` seconds later. If `grace` is 0
    or the caller is cancelled, it gets SIGKILL immediately. Processes that a command leaves running when it ends in
    time are left alone, but their output is no longer read. Raises TimeoutError when the command did not end in time,
    CommandError when it cannot be started or watched.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        child = _start(argv, env, writing)
    except CommandError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    with Lines(reading, on_line) as lines:
        await _wait(child, timeout, grace)
        lines.drain()
        return Ended(child.wait(), not lines.ended)


def _start(argv: Sequence[str], env: Mapping[str, str] | None, output: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603  (the operator's command, no shell)
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    except OSError as error:
        raise CommandError(f"cannot be started: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:  # a NUL in an argument
        raise CommandError(f"cannot be started: {error}") from error


async def _wait(child: subprocess.Popen[bytes], limit: float, grace: float) -> None:
    """Return when the child has ended. Kill its whole group unless it ends by itself and in time."""
    with _exit_of(child) as ended:
        by_itself = False
        try:
            async with asyncio.timeout(limit):
                await ended.wait()
            by_itself = True
        except TimeoutError:
            if grace:
                _signal(child, signal.SIGTERM)
                await _within(grace, ended)
            raise
        finally:
            if not by_itself:
                _signal(child, signal.SIGKILL)  # also reaches processes that outlived the leader
                await _reap(child, ended)


@contextlib.contextmanager
def _exit_of(child: subprocess.Popen[bytes]) -> Iterator[asyncio.Event]:
    """Yield an event that is set when the child ends. Leave it unreaped, so that its group's number stays taken."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    try:
        pidfd = os.pidfd_open(child.pid)
    except OSError as error:  # no descriptor is left, or a sandbox forbids the call
        _signal(child, signal.SIGKILL)
        child.wait()
        raise CommandError(f"cannot be watched: {error}") from error

    def take_note() -> None:
        loop.remove_reader(pidfd)
        ended.set()

    loop.add_reader(pidfd, take_note)
    try:
        yield ended
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


async def _reap(child: subprocess.Popen[bytes], ended: asyncio.Event) -> None:
    """Wait until the killed child has ended, even if the caller is cancelled again meanwhile, as a TaskGroup does."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + _REAP_SECONDS
    again = False
    while not ended.is_set() and (left := give_up - loop.time()) > 0:
        try:
            await _within(left, ended)
        except asyncio.CancelledError:
            again = True
    child.poll()
    if again:
        raise asyncio.CancelledError


async def _within(seconds: float, ended: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ended.wait()


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the command may have changed its user
        os.killpg(child.pid, number)
