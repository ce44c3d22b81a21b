"""Runs hooks: the operator's commands for when this node takes or leaves a group."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from health import command
from health.errors import AnyvipError

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = logging.getLogger("anyvip.hooks")

GRACE_SECONDS = 1.0  # between SIGTERM and SIGKILL: a hook outlasts its time limit by no more than this
_LINES = 200  # of output that the log takes


class HookError(AnyvipError):
    """A hook failed. The message names it and the failure, on one line."""


@dataclass(frozen=True, slots=True)
class HookContext:
    """What a hook learns from its environment: ANYVIP_GROUP, ANYVIP_NODE and so on."""

    group: str
    node: str
    epoch: int
    role: str
    reason: str

    def environment(self) -> dict[str, str]:
        """Return the daemon's environment with the five variables. NULs become blanks: no variable can hold one."""
        told = {
            "ANYVIP_GROUP": self.group,
            "ANYVIP_NODE": self.node,
            "ANYVIP_EPOCH": str(self.epoch),
            "ANYVIP_ROLE": self.role,
            "ANYVIP_REASON": self.reason.replace("\0", " "),
        }
        return {**os.environ, **told}


class HookRunner(Protocol):
    """Runs one hook to its end, as `run_hook` does."""

    async def __call__(self, argv: Sequence[str], /, *, context: HookContext, timeout: float) -> None:  # noqa: ASYNC109
        """Raises HookError."""


async def run_hook(argv: Sequence[str], *, context: HookContext, timeout: float) -> None:  # noqa: ASYNC109
    """Run the hook to its end, without a shell and without any of the daemon's descriptors. Output goes to the log.

    After `timeout` seconds its process group gets SIGTERM, and SIGKILL `GRACE_SECONDS` later. When the caller is
    cancelled, it gets SIGKILL immediately. Raises HookError when the hook cannot be started, fails or takes too long.
    """
    output = _Logged(context.group, argv[0])
    try:
        ended = await command.run(
            argv,
            env=context.environment(),
            timeout=timeout,
            grace=GRACE_SECONDS,
            on_line=output.line,
        )
    except command.CommandError as error:
        raise HookError(f"{argv[0]}: {error}") from error
    except TimeoutError as error:
        raise HookError(f"{argv[0]}: killed, because it did not end within {timeout:g} s{output.last}") from error
    if ended.held:
        _log.warning(
            "%s: %s left a process running that still holds the hook's output, which is no longer read: "
            "give it an output of its own",
            context.group,
            argv[0],
        )
    if ended.status:
        raise HookError(f"{argv[0]}: {ended}{output.last}")


class _Logged:
    """Writes the hook's lines to the log, up to a limit, and keeps the last one."""

    def __init__(self, group: str, program: str) -> None:
        self.last = ""
        self._group = group
        self._program = program
        self._lines = 0

    def line(self, text: str) -> None:
        self.last = f": {text}"
        self._lines += 1
        if self._lines <= _LINES:
            _log.info("%s: %s: %s", self._group, self._program, text)
        elif self._lines == _LINES + 1:
            _log.warning("%s: %s: more than %d lines, the rest is not logged", self._group, self._program, _LINES)
