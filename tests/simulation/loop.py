"""An asyncio event loop in the simulated world: one process's, on its host's clock, which can freeze before any step.

The daemon's own code runs on it, unchanged. Each callback is one step: the world decides when it runs, and a frozen or
dead process runs none. Nothing here waits for anything real, so a seed reproduces.
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
_CANCELLATIONS = 10  # a coroutine that outlives so many would never end


class VirtualLoop(asyncio.BaseEventLoop):
    """`pace`: true seconds before the next callback. `about_to` is asked before each; it may freeze or end the process."""

    def __init__(
        self, world: World, clock: Clock, pace: Callable[[], float], about_to: Callable[[str, str], None]
    ) -> None:
        # Not `super().__init__()`: it would ask the real clock and make what a loop that waits for sockets needs.
        self._world, self._clock, self._pace, self._about_to = world, clock, pace, about_to
        self._steps: deque[tuple[str, str, asyncio.Handle]] = deque()
        self._scheduled = False  # whether the next callback is in the world's queue
        self._frozen = 0
        self.dead = False
        self.trapped = False  # whether `about_to` wants to be asked
        self.failed: BaseException | None = None

    # --- the process as a whole

    @property
    def awake(self) -> bool:
        """Whether it can do anything."""
        return not self.dead and not self._frozen

    def freeze(self) -> None:
        """SIGSTOP, or no CPU: nothing runs until `thaw`."""
        self._frozen += 1

    def thaw(self) -> None:
        """Go on where it stopped, with everything that has become due."""
        self._frozen -= 1
        self._go_on()

    def kill(self) -> None:
        """SIGKILL: nothing runs any more.

        Its coroutines are ended here, cancelled before they reach another effect, so that none is found pending later.
        """
        self.dead = True
        for _ in range(_CANCELLATIONS):
            tasks = asyncio.all_tasks(self)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            while self._steps:
                self._run(self._steps.popleft()[2])

    def step(self, kind: str, detail: str, call: Callable[..., object], *args: Any) -> None:
        """Call this as one step of the process, after what is ready already."""
        if not self.dead:
            self._put(kind, detail, asyncio.Handle(call, args, self))

    def perform(self, kind: str, detail: str, effect: Callable[[], T]) -> asyncio.Future[T]:
        """Have the effect in a step with this name, unless the caller has given up before. Its result, or its error."""
        result: asyncio.Future[T] = self.create_future()
        self.step(kind, detail, _resolve, result, effect)
        return result

    def pause(self, seconds: float, kind: str, detail: str) -> asyncio.Future[None]:
        """Wait so many true seconds, then for one step with this name."""
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
        """Run the next step, and the callbacks without a name that follow: no effect is among those."""
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
        """A callback raised: that is a finding."""
        if not self.dead:
            self.failed = context.get("exception") or RuntimeError(context["message"])

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is skipped when its time comes."""


def _resolve(result: asyncio.Future[T], effect: Callable[[], T]) -> None:
    if result.done():
        return
    try:
        result.set_result(effect())
    except Exception as error:  # noqa: BLE001  (whoever waits for it gets it)
        result.set_exception(error)


def _nothing() -> None:
    """Only time passes."""
