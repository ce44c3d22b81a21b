"""A small platform in memory with one address, and a mover for it. It stands for no particular cloud.

`providers.cloud.calls` makes the calls to it in real threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from controller.contracts import LostReply, Script, ScriptedRefusal
from controller.daemon.clock import boottime
from providers.baremetal.provider import BareMetal
from providers.base import Finding, Level, Place, Placement
from providers.cloud.calls import Calls
from providers.cloud.deadline import Deadline
from providers.cloud.mover import MovingOptions
from providers.cloud.moving import Moving
from providers.cloud.refusal import Refusal
from tests.lab.host.processes import LIVENESS

T = TypeVar("T")


class CloudError(Exception):
    """An error that the platform's SDK raises."""


class Silence(CloudError):  # noqa: N818  (it names an event)
    """The platform did not answer."""


class Cloud:
    """A small platform with one address: its holder, its requests and its faults."""

    def __init__(self, script: Script | None = None) -> None:
        """Prepare the platform. A contract's `script` decides what happens to each call."""
        self._script = script or Script()
        self.holder = "other"
        self.begun: list[str] = []  # the calls that have arrived, answered or not
        self.asked: list[str] = []
        self.seconds = 0.0  # the duration of each call
        self.answering = threading.Event()  # while it is clear, calls stay under way
        self.answering.set()
        self.shows_after = 0  # how many looks still show the old state
        self.fails: dict[str, int] = {}  # how many calls of each kind fail

    def move(self, to: str) -> None:
        self._serve("move", lambda: self._lead(to))

    def look(self) -> str:
        return self._serve("look", self._shown)

    def leave(self, who: str) -> None:
        self._serve("leave", lambda: self._lead("" if self.holder == who else self.holder))

    def _lead(self, to: str) -> None:
        self.holder = to

    def _shown(self) -> str:
        if self.shows_after:
            self.shows_after -= 1
            return "other"
        return self.holder

    def _serve(self, what: str, effect: Callable[[], T]) -> T:
        self.begun.append(what)
        time.sleep(self.seconds)
        if not self.answering.wait(LIVENESS):
            raise TimeoutError(f"the test never allows an answer to {what}")
        self.asked.append(what)
        if self.fails.get(what, 0):
            self.fails[what] -= 1
            raise CloudError(f"{what} failed")
        try:
            return self._script.serve(what, effect, writes=what != "look")
        except ScriptedRefusal as refused:
            raise CloudError(f"{what} refused") from refused
        except LostReply as lost:
            raise Silence(f"{what}: no answer") from lost


class CloudMover:
    """Moves the platform's address to `node`."""

    def __init__(self, cloud: Cloud, calls: Calls, node: str = "me") -> None:
        self.cloud, self.calls, self.node = cloud, calls, node
        self.asked: list[str] = []  # what was wanted of it, whether or not a call has left
        self.warmed = self.closed = 0

    async def warm(self, until: Deadline) -> None:  # noqa: ARG002
        self.warmed += 1

    async def move(self, until: Deadline) -> None:
        self.asked.append("move")
        await self.calls.run("move", lambda: self.cloud.move(self.node), until=until)

    async def leave(self, until: Deadline) -> None:
        self.asked.append("leave")
        await self.calls.run("leave", lambda: self.cloud.leave(self.node), until=until)

    async def look(self, until: Deadline) -> Placement:
        self.asked.append("look")
        holder = await self.calls.run("look", self.cloud.look, until=until)
        if holder == self.node:
            return Placement(Place.HERE)
        return Placement(Place.ELSEWHERE, holder) if holder else Placement(Place.NOWHERE)

    async def preflight(self) -> list[Finding]:
        return [Finding(Level.OK, "test.cloud", "cloud", "is there")]

    def close(self) -> None:
        self.closed += 1


class ByHand(Executor):
    """Threads that have taken their calls, and stand still until the test lets one of them go on."""

    def __init__(self) -> None:
        self._standing: list[tuple[str, Callable[[], None]]] = []

    @property
    def standing(self) -> list[str]:
        """What is asked by the calls that stand still, the oldest first."""
        return [what for what, _ in self._standing]

    def submit(self, call: Callable[..., T], /, *args: Any, **named: Any) -> Future[T]:
        """See `Executor`."""
        answer: Future[T] = Future()
        answer.set_running_or_notify_cancel()

        def go_on() -> None:
            try:
                answer.set_result(call(*args, **named))
            except Exception as error:  # noqa: BLE001  (whoever asks for the answer gets it)
                answer.set_exception(error)

        self._standing.append((args[0], go_on))
        return answer

    def go_on(self, which: int) -> None:
        """Let this one end."""
        self._standing.pop(which)[1]()


def translate(error: Exception) -> Refusal | None:
    return Refusal(str(error), retry=isinstance(error, Silence)) if isinstance(error, CloudError) else None


def moving(
    cloud: Cloud,
    *,
    reconcile_seconds: float = 60.0,
    move_seconds: float = 60.0,
    local: BareMetal | None = None,
    node: str = "me",
    clock: Callable[[], float] = boottime,
    threads: int | Executor = 2,
) -> tuple[Moving, CloudMover]:
    """Return a provider that moves this cloud's address, and its mover. The caller closes the provider."""
    calls = Calls("test", clock=clock, translate=translate, threads=threads)
    mover = CloudMover(cloud, calls, node)
    options = MovingOptions(reconcile_seconds=reconcile_seconds, move_seconds=move_seconds)
    return Moving(mover, calls, group="web", clock=clock, options=options, local=local), mover
