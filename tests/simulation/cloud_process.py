"""A daemon in a cloud's network, with its own moves, calls and looks.

`providers.cloud` and `controller.daemon.reconcile` run unchanged, but the cloud is a model. Threads of the simulated
world make the calls, so the process can freeze or die between the last check of the grant and the sending of a request.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor, Future
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from controller.core.machine import Role
from controller.daemon.reconcile import Budget, Reconciler
from providers.base import Finding, Place, Placement, ProviderError
from providers.cloud.calls import CallRefused, Calls
from providers.cloud.deadline import Deadline
from providers.cloud.mover import MovingOptions
from providers.cloud.moving import Moving
from providers.cloud.refusal import Refusal
from tests.simulation.cloud import BUSY, PAUSE_SECONDS, USUAL_SECONDS, Cloud, Mover, Refused, Request, Steps
from tests.simulation.cluster import Cluster
from tests.simulation.process import Process, Untold

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from providers.base import Provider
    from tests.simulation.host import Host

T = TypeVar("T")

PERIOD_SECONDS = 15.0
MOVE_SECONDS = 20.0
CALL_SECONDS = 2.0  # after that a call is retried, but the first request can still land
_BUDGET = 6000  # looks per minute, enough that no group waits for another


class CloudCluster(Cluster):
    """A cluster in a cloud's network."""

    cloud: Cloud
    mover: type[Mover]

    def mover_for(self, host: str, group: str) -> Mover:
        """Return the model of the mover that moves the group to this host."""
        return self.mover(host, group, self.cloud.hosts, lambda: self.world.now)

    def check_led(self) -> None:
        """Check that every group leads to the host that serves it, and to no other."""
        for group, owner in self.invariants.serving().items():
            if self.cloud.holders(group) != [owner]:
                leads_to = ", ".join(self.cloud.holders(group)) or "nobody"
                raise self.cloud.violated(f"{owner} serves {group}, but the network leads to {leads_to}")
            self.cloud.check_tidy(group, owner)


class NoAnswer(Exception):  # noqa: N818  (it stands for an SDK's own error)
    """The vendor's SDK has waited for an answer until its own timeout."""


def translate(error: Exception) -> Refusal | None:
    """Translate an error of the model, as a cloud's `translate` does."""
    if isinstance(error, NoAnswer):
        return Refusal("no answer", retry=True)
    if isinstance(error, Refused):
        return Refusal(error.code, retry=error.code == BUSY, after=PAUSE_SECONDS)
    return None


class VirtualThreads(Executor):
    """Threads of the simulated process.

    A call's first argument names the request, and the call returns the request that an SDK would send.
    """

    def __init__(self, process: CloudProcess, group: str) -> None:
        self._process, self._group = process, group

    def submit(self, call: Callable[..., T], /, *args: Any, **named: Any) -> Future[T]:
        future: Future[T] = Future()
        self._process.loop.step("thread", f"{args[0]} {self._group}", self._begin, future, call, args, named)
        return future

    def _begin(self, future: Future[Any], call: Callable[..., object], args: Any, named: Any) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            request = call(*args, **named)
        except Exception as error:  # noqa: BLE001  (the future passes it on)
            future.set_exception(error)
        else:
            assert isinstance(request, Request)
            self._process.loop.step("call", f"{request.verb} {self._group}", self._send, future, request)

    def _send(self, future: Future[Any], request: Request) -> None:
        network, world = self._process.home.cloud, self._process.cluster.world
        world.after(CALL_SECONDS, self._process.loop.step, "deadline", self._group, _give_up, future)
        if request.writes and network.copies():
            world.after(network.takes(), network.land, request)
        if not network.loses():
            world.after(network.takes(), self._land, future, request)

    def _land(self, future: Future[Any], request: Request) -> None:
        """Execute the request in the cloud, even if the daemon that sent it is frozen or dead."""
        network, world, loop = self._process.home.cloud, self._process.cluster.world, self._process.loop
        answer = network.land(request)
        if not network.loses():
            name = f"{request.verb} {self._group}"
            world.after(USUAL_SECONDS / 10, loop.step, "answer", name, _answer, future, answer)


def _answer(future: Future[Any], answer: object) -> None:
    if future.done():
        return  # the caller has stopped waiting for this answer
    if isinstance(answer, Refused):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def _give_up(future: Future[Any]) -> None:
    if not future.done():
        future.set_exception(NoAnswer())


class ModelMover:
    """A `providers.cloud.mover.Mover` that makes the calls of a mover's model."""

    def __init__(self, model: Mover, calls: Calls) -> None:
        self._model, self._calls = model, calls

    def begin(self, epoch: int) -> None:
        self._model.epoch = epoch

    async def move(self, until: Deadline) -> None:
        await self._follow(self._model.move(), until)

    async def leave(self, until: Deadline) -> None:
        await self._follow(self._model.leave(), until)

    async def look(self, until: Deadline) -> Placement:
        here = await self._follow(self._model.look(), until)
        return Placement(Place.HERE if here else Place.ELSEWHERE)

    async def preflight(self) -> list[Finding]:
        return []

    async def _follow(self, steps: Steps[T], until: Deadline) -> T:
        answer: object = None
        while True:
            try:
                said = steps.throw(answer) if isinstance(answer, Refused) else steps.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            except Refused as refused:
                raise ProviderError(refused.code) from refused
            answer = await self._asked(said, until)

    async def _asked(self, said: Request | float, until: Deadline) -> object:
        if not isinstance(said, Request):
            await asyncio.sleep(said)
            return None
        try:
            return await self._calls.run(said.verb, lambda: said, until=until)
        except CallRefused as refused:
            if isinstance(refused.error, Refused):
                return refused.error
            raise


class CloudProcess(Process):
    """A daemon in a cloud's network."""

    moving: type[Moving] = Moving
    calls: type[Calls] = Calls
    reconciler: type[Reconciler] = Reconciler

    def __init__(self, host: Host) -> None:
        self.moves: dict[str, Moving] = {}
        super().__init__(host)

    @property
    def home(self) -> CloudCluster:
        """The cluster in its cloud."""
        assert isinstance(self.cluster, CloudCluster)
        return self.cluster

    def epoch(self, group: str) -> int:
        """Return the epoch for which the network was last moved."""
        epoch = self.moves[group]._epoch
        assert epoch is not None
        return epoch

    def providers(self, group: str) -> list[Provider]:
        calls = self.calls(
            group, clock=self.clock, translate=translate, threads=VirtualThreads(self, group), random=Random(group)
        )
        mover = ModelMover(self.home.mover_for(self.host.name, group), calls)
        options = MovingOptions(reconcile_seconds=PERIOD_SECONDS, move_seconds=MOVE_SECONDS)
        self.moves[group] = self.moving(mover, calls, group=group, clock=self.clock, options=options)
        return [*super().providers(group), self.moves[group]]

    def background(self) -> list[Coroutine[Any, Any, None]]:
        reconciler = self.reconciler(
            groups=self.steps,
            active=self._active,
            budget=Budget(_BUDGET, _BUDGET, self.clock()),
            clock=self.clock,
            telemetry=Untold(),
            post=self.node.post,
            random=Random(self.host.name),
        )
        return [*super().background(), reconciler.run()]

    def _active(self) -> dict[str, int]:
        return {name: group.epoch for name, group in self.state.groups.items() if group.role is Role.ACTIVE}
