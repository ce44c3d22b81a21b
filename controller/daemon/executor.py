"""Carries out the core's actions, each under its deadline. Answers each with one event, except `Save` and `Exit`."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from controller.core import events as ev
from controller.core.records import SessionId
from controller.daemon.clock import Clock
from controller.daemon.hooks import HookError
from controller.daemon.life import Life
from controller.daemon.steps import GroupSteps
from controller.stores.base import Conflict, Store, StoreError
from controller.telemetry.telemetry import Op, RequestOutcome, Telemetry
from providers.base import Guard, ProviderError

_log = logging.getLogger("anyvip")

_EXPECTED = (StoreError, ProviderError, HookError, TimeoutError)
# The core waits for its one answer, so a plugin's exceptions count as errors, a leaked CancelledError included.
_ANYTHING = (Exception, asyncio.CancelledError)


def new_session_id(node: str) -> SessionId:
    """Return a session id that was never used before. It begins with the node's name, for readers."""
    return SessionId(f"{node}-{secrets.token_hex(6)}")


@dataclass(slots=True)
class Surroundings:
    """What the actions work on. `groups` follows the configuration."""

    store: Store
    guard: Guard
    groups: Mapping[str, GroupSteps]
    life: Life
    clock: Clock
    mint: Callable[[], SessionId]  # returns a session id that was never used before
    call_timeout: float  # seconds
    wall: Callable[[], float] = time.time  # returns Unix time, in seconds


class Executor:
    """Begins actions in order. Each ends on its own. All but `Save` then give one event to `post`."""

    def __init__(
        self, around: Surroundings, telemetry: Telemetry, tasks: asyncio.TaskGroup, post: Callable[[ev.Event], None]
    ) -> None:
        self._around = around
        self._telemetry = telemetry
        self._tasks = tasks
        self._post = post
        self._running: dict[str, list[asyncio.Task[None]]] = {}
        self._effects: Mapping[type, Callable[[ev.Action], Awaitable[ev.Event]]] = {
            ev.Clear: self._clear,
            ev.Mint: self._mint,
            ev.StartTimer: self._start_timer,
            ev.Arm: self._arm,
            ev.Read: self._read,
            ev.Write: self._write,
        }

    def begin(self, action: ev.Action) -> None:
        """Begin an action other than `Exit`."""
        if isinstance(action, ev.Save):
            self._around.life.save(action.saved)
        elif isinstance(action, ev.Run):
            before = [task for task in self._running.get(action.group, ()) if not task.done()]
            self._running[action.group] = [*before, self._tasks.create_task(self._run(action, before))]
        else:
            self._tasks.create_task(self._answer(action))

    async def _answer(self, action: ev.Action) -> None:
        self._post(await self._effects[type(action)](action))

    # --- the guard ---

    async def _clear(self, _: ev.Action) -> ev.Event:
        around = self._around
        failed = ""
        for undo in (self._shut_all, *(steps.unbind for steps in around.groups.values())):
            try:
                await undo()
            except _ANYTHING as error:
                failed = failed or _line(error)
        if failed:
            _log.warning("cannot unbind yet what an earlier life left behind: %s", failed)
        return ev.Cleared(failed or None)

    async def _shut_all(self) -> None:
        await self._around.guard.shut(list(self._around.groups))

    async def _mint(self, _: ev.Action) -> ev.Event:
        return ev.Minted(self._around.mint())

    async def _start_timer(self, action: ev.Action) -> ev.Event:
        assert isinstance(action, ev.StartTimer)
        at = self._around.clock()
        offset = self._around.wall() - at
        try:
            await self._around.guard.start(action.slot, action.seconds)
        except _ANYTHING as error:
            _log.warning("cannot start the guard's timer: %s", line := _line(error))
            return ev.TimerStarted(action.slot, at, line)
        return ev.TimerStarted(action.slot, at, wall_offset=offset)

    async def _arm(self, action: ev.Action) -> ev.Event:
        assert isinstance(action, ev.Arm)
        try:
            await self._around.guard.arm(action.slot, action.groups)
        except _ANYTHING as error:
            return ev.Armed(action.slot, action.groups, _line(error))
        return ev.Armed(action.slot, action.groups)

    # --- the store ---

    async def _read(self, action: ev.Action) -> ev.Event:
        assert isinstance(action, ev.Read)
        sent_at = self._around.clock()
        try:
            async with asyncio.timeout(self._around.call_timeout):
                entries = await self._around.store.read("")
        except _ANYTHING as error:
            line = _line(error)
            self._record_request(Op.READ, RequestOutcome.FAILED, sent_at, line)
            return ev.Failed(action.request, line)
        self._record_request(Op.READ, RequestOutcome.OK, sent_at)
        return ev.Listed(action.request, sent_at, entries)

    async def _write(self, action: ev.Action) -> ev.Event:
        assert isinstance(action, ev.Write)
        sent_at = self._around.clock()
        try:
            async with asyncio.timeout(self._around.call_timeout):
                version = await self._around.store.swap(action.key, action.value, action.expected)
        except Conflict:
            self._record_request(Op.WRITE, RequestOutcome.REFUSED, sent_at)
            return ev.Refused(action.request)
        except _ANYTHING as error:
            line = _line(error)
            self._record_request(Op.WRITE, RequestOutcome.UNSURE, sent_at, line)
            return ev.Unsure(action.request, line)
        self._record_request(Op.WRITE, RequestOutcome.OK, sent_at)
        return ev.Wrote(action.request, sent_at, version)

    def _record_request(self, op: Op, outcome: RequestOutcome, sent_at: float, error: str = "") -> None:
        self._telemetry.requested(op, outcome, self._around.clock() - sent_at, error)

    # --- a group's steps ---

    async def _run(self, order: ev.Run, before: Sequence[asyncio.Task[None]]) -> None:
        """Run one step. The group's earlier steps are cancelled and have ended before it begins."""
        for task in before:
            if not task.cancelling():  # a second cancellation would interrupt its cleanup
                task.cancel()
        if before:
            await asyncio.wait(before)
        began_at = self._around.clock()
        error = await self._error_of(order)
        seconds = self._around.clock() - began_at
        self._post(ev.Ran(order.group, order.epoch, order.step, error, seconds))

    async def _error_of(self, order: ev.Run) -> str | None:
        try:
            await self._around.groups[order.group].run(order)
        except TimeoutError:
            return f"{order.step} did not end in time"
        except _ANYTHING as error:
            return _line(error)
        return None


def _line(error: BaseException) -> str:
    """Return what went wrong, on one line. Raises the error again when it is the cancellation of this task itself."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error
    text = " ".join(str(error).split())
    if isinstance(error, _EXPECTED) and text:
        return text
    if isinstance(error, TimeoutError):
        return "no answer in time"
    _log.debug("a plugin raised an unexpected exception", exc_info=error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
