"""Run every check of every group, and report when a group's verdict changes."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import ssl
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from health import command
from health.connect import CheckFailed, tcp
from health.debounce import Debounced, observe
from health.icmp import ping
from health.options import CheckOptions, CommandCheck, HttpCheck, PingCheck, TcpCheck
from health.web import http

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["CheckOptions", "Checker"]

_log = logging.getLogger("anyvip.health")

_JITTER = 0.1  # a pause is shorter by up to this ratio, so that checks that began together do not stay in step


@dataclass(slots=True)
class _Check:
    """A running check, its debounced state, and why it failed last."""

    group: str
    name: str
    options: CheckOptions
    belief: Debounced = field(default_factory=Debounced)
    why: str = ""
    task: asyncio.Task[None] | None = None


class Checker:
    """Judges groups by their checks: healthy when all are up, unhealthy when one is down, otherwise unknown.

    Calls `on_change(group, healthy, why)` from the loop for the first verdict and whenever it changes. A group without
    checks is healthy immediately. An unknown verdict is not reported: the previous one stands.
    """

    def __init__(
        self,
        groups: Mapping[str, Mapping[str, CheckOptions]],
        on_change: Callable[[str, bool, str], None],
    ) -> None:
        self._groups = groups
        self._on_change = on_change
        self._checks: dict[tuple[str, str], _Check] = {}
        self._told: dict[str, bool] = {}
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Run all checks until cancelled. Everything that they started has ended when this returns."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self.reconfigure(self._groups)
                await asyncio.Event().wait()
        finally:
            self._tasks = None

    def reconfigure(self, groups: Mapping[str, Mapping[str, CheckOptions]]) -> None:
        """Apply the difference. Checks with the same options continue, and keep their state."""
        self._groups = groups
        if self._tasks is None:  # `run` calls this again when it starts
            return
        wanted = {(group, name): options for group, checks in groups.items() for name, options in checks.items()}
        for key, check in list(self._checks.items()):
            if wanted.get(key) != check.options:
                del self._checks[key]
                if check.task is not None:
                    check.task.cancel()
        for (group, name), options in wanted.items():
            if (group, name) not in self._checks:
                check = self._checks[group, name] = _Check(group, name, options)
                check.task = self._tasks.create_task(self._repeat(check), name=f"check {group}/{name}")
        self._told = {group: healthy for group, healthy in self._told.items() if group in groups}
        for group in groups:
            self._judge(group)

    async def _repeat(self, check: _Check) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            self._observe(check, await failure(check.options))
            pause = check.options.interval_seconds * random.uniform(1 - _JITTER, 1)
            await asyncio.sleep(max(0.0, began + pause - loop.time()))

    def _observe(self, check: _Check, failure: str | None) -> None:
        before = check.belief
        rise, fall = check.options.rise, check.options.fall
        check.belief = observe(before, passed=failure is None, rise=rise, fall=fall)
        if failure is not None:
            check.why = failure
            _log.debug("%s: check %s failed: %s", check.group, check.name, failure)
        if check.belief.up != before.up:
            self._judge(check.group)

    def _judge(self, group: str) -> None:
        checks = [check for check in self._checks.values() if check.group == group]
        down = [check for check in checks if check.belief.up is False]
        if not down and any(check.belief.up is None for check in checks):
            return
        healthy = not down
        if self._told.get(group) != healthy:
            self._told[group] = healthy
            self._on_change(group, healthy, _reason(checks, down))


def _reason(checks: list[_Check], down: list[_Check]) -> str:
    if down:
        return "; ".join(f"{check.name}: {check.why}" for check in down)
    return f"{', '.join(check.name for check in checks)} passed" if checks else "no checks"


async def failure(options: CheckOptions) -> str | None:
    """Run the check once. Return None, or one line that says why it failed; every exception is such a failure."""
    try:
        async with asyncio.timeout(options.timeout_seconds):
            await _once(options)
    except TimeoutError:
        return f"no result within {options.timeout_seconds:g} s"
    except CheckFailed as error:
        return str(error)
    except ssl.SSLCertVerificationError as error:
        return f"certificate not valid: {error.verify_message}"
    except OSError as error:
        return _words(error)
    except Exception as error:  # noqa: BLE001  (a check that raises has failed, and must go on running)
        return f"{type(error).__name__}: {error}".replace("\n", " ")
    return None


def _words(error: OSError) -> str:
    """Return the kernel's text, which the loop hides behind addresses. The resolver has texts of its own."""
    if error.errno is None:
        return str(error)
    return (os.strerror(error.errno) if error.errno > 0 else error.strerror or str(error)).lower()


async def _once(options: CheckOptions) -> None:
    match options:
        case TcpCheck():
            await tcp(options)
        case HttpCheck():
            await http(options)
        case PingCheck():
            await ping(options)
        case CommandCheck():
            await _command(options)
        case _:
            assert_never(options)


async def _command(options: CommandCheck) -> None:
    said = deque([""], maxlen=1)
    try:
        ended = await command.run(options.argv, timeout=options.timeout_seconds, on_line=said.append)
    except command.CommandError as error:
        raise CheckFailed(str(error)) from error
    if ended.status:
        raise CheckFailed(f"{ended}: {said[-1]}" if said[-1] else str(ended))
