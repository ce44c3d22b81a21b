"""An asyncio event loop in the simulated world. It runs one process on its host's clock, and can freeze before a step.

The daemon's own code runs on it unchanged. A step is one callback with a name, and the unnamed callbacks after it. The
world decides when a step runs. A frozen or dead process runs none. No real time passes, so seeds are reproducible.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context

    from tests.simulation.world import Clock, World

T = TypeVar("T")
Args = TypeVarTuple("Args")

STEP = "loop"  # the kind of a step that has no name of its own
_CANCELLATIONS = 10  # a coroutine that survives this many would never end


class VirtualLoop(asyncio.BaseEventLoop):
    """The event loop of one process.

    `pace` returns the true seconds before the next callback. `about_to` is called before each step of a process that
    has traps, and can freeze or end the process.
    """

    def __init__(
        self, world: World, clock: Clock, pace: Callable[[], float], about_to: Callable[[str, str], None]
    ) -> None:
        # `super().__init__()` would read the real clock and make what only a loop with sockets needs.
        self._world, self._clock, self._pace, self._about_to = world, clock, pace, about_to
        self._steps: deque[tuple[str, str, asyncio.Handle]] = deque()
        self._scheduled = False  # whether the next callback is in the world's queue
        self._frozen = 0
        self.dead = False
        self.trapped = False  # whether to call `about_to`
        self.failed: BaseException | None = None

    # --- the process as a whole

    @property
    def awake(self) -> bool:
        """Whether the process is neither frozen nor dead."""
        return not self.dead and not self._frozen

    def freeze(self) -> None:
        """Stop the process until `thaw`, as SIGSTOP or a lack of CPU does."""
        self._frozen += 1

    def thaw(self) -> None:
        """Continue where the process stopped, with everything that has become due."""
        self._frozen -= 1
        self._go_on()

    def kill(self) -> None:
        """End the process as SIGKILL does.

        Cancels its coroutines before they reach another effect, so that asyncio finds none pending later.
        """
        self.dead = True
        for _ in range(_CANCELLATIONS):
            tasks = asyncio.all_tasks(self)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            while self._steps:
                kind, _, handle = self._steps.popleft()
                if kind is STEP:  # a step with a name is an effect, or leads to one
                    self._run(handle)

    def step(self, kind: str, detail: str, call: Callable[..., object], *args: Any) -> None:
        """Call a function as one step of the process, after everything that is already ready."""
        if not self.dead:
            self._put(kind, detail, asyncio.Handle(call, args, self))

    def perform(self, kind: str, detail: str, effect: Callable[[], T]) -> asyncio.Future[T]:
        """Run `effect` in a step with this name, unless the caller has given up before. Returns its future."""
        result: asyncio.Future[T] = self.create_future()
        self.step(kind, detail, _resolve, result, effect)
        return result

    def pause(self, seconds: float, kind: str, detail: str) -> asyncio.Future[None]:
        """Wait for true seconds, and then for one step with this name."""
        passed: asyncio.Future[None] = self.create_future()
        self._world.after(seconds, self.step, kind, detail, _resolve, passed, _nothing)
        return passed

    def _put(self, kind: str, detail: str, handle: asyncio.Handle) -> None:
        self._steps.append((kind, detail, handle))
        self._go_on()

    def _go_on(self) -> None:
        if self._steps and not self._scheduled and not self._frozen and not self.dead:
            self._scheduled = True
            self._world.after(self._pace(), self._run_next)

    def _run_next(self) -> None:
        """Run the next step and the unnamed callbacks that follow it, which have no effects."""
        self._scheduled = False
        while self._steps and not self._frozen and not self.dead:
            if self.trapped:
                kind, detail, _ = self._steps[0]
                self._about_to(kind, detail)
                if self._frozen or self.dead:
                    return
            self._run(self._steps.popleft()[2])
            if self.failed is not None:
                raise self.failed
            if self._steps and self._steps[0][0] is not STEP:
                break
        self._go_on()

    def _run(self, handle: asyncio.Handle) -> None:
        if handle.cancelled():
            return
        asyncio._set_running_loop(self)
        try:
            handle._run()
        finally:
            asyncio._set_running_loop(None)

    # --- what asyncio needs of a loop

    def time(self) -> float:
        """The host's clock, in local seconds."""
        return self._clock.at(self._world.now)

    def call_soon(
        self, callback: Callable[[*Args], object], *args: *Args, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._put(STEP, "", handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Args], object], *args: *Args, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[*Args], object], *args: *Args, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Args], object], *args: *Args, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._world.after(max(self._clock.true(when) - self._world.now, 0.0), self._due, handle)
        return handle

    def _due(self, handle: asyncio.TimerHandle) -> None:
        if not self.dead and not handle.cancelled():
            self._put(STEP, "", handle)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Generator[Any, None, T] | Coroutine[Any, Any, T], *, name: object = None, context: Any = None
    ) -> asyncio.Task[T]:
        return asyncio.Task(coro, loop=self, name=None if name is None else str(name), context=context)

    def is_closed(self) -> bool:
        return self.dead

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep the error of a callback, which is a finding."""
        if not self.dead:
            self.failed = context.get("exception") or RuntimeError(context["message"])

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing, because a cancelled timer is skipped when it is due."""


def _resolve(result: asyncio.Future[T], effect: Callable[[], T]) -> None:
    if result.done():
        return
    try:
        result.set_result(effect())
    except Exception as error:  # noqa: BLE001  (the future passes it on)
        result.set_exception(error)


def _nothing() -> None:
    """Do nothing: only time passes."""
