"""The simulated store, guard, provider and hooks, which the daemon's code calls as it calls the real ones.

Each call takes at least one step of the process. The process can freeze or die directly before the effect of a step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from controller.core.events import Read, Step, Write
from controller.daemon.hooks import HookError
from controller.stores.base import Conflict, Entry, Version
from providers.base import Finding, Grant, GuardState, Place, Placement, ProviderError, StaleGrant
from tests.simulation.network import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from controller.daemon.hooks import HookContext
    from tests.simulation.process import Process


class SimulatedStore:
    """A `controller.stores.base.Store` behind the simulated network."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def read(self, prefix: str) -> Mapping[str, Entry]:
        assert prefix == ""
        return cast("Mapping[str, Entry]", await self._ask(Read(0)))

    async def swap(self, key: str, value: bytes | None, expected: Version | None) -> Version:
        version = cast("Version | None", await self._ask(Write(0, key, value, expected)))
        if version is None:
            raise Conflict(key)
        return version

    async def close(self) -> None:
        """Do nothing, because there are no connections."""

    async def _ask(self, request: Read | Write) -> object:
        process, loop = self._process, self._process.loop
        message = Message(process, request, process.cluster.world.now, loop.create_future())
        await loop.perform("send", message.key, lambda: process.cluster.network.send(message))
        return await message.answer


class SimulatedGuard:
    """A `providers.base.Guard` in front of the host's kernel, which outlives the daemon."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._kernel = process.host.kernel
        self.failed = False  # whether the last call failed, so that it is unknown what passes

    async def start(self, slot: int, seconds: float) -> None:
        await self._call("timer", "", lambda: self._kernel.start(slot, seconds))

    async def arm(self, slot: int, groups: Collection[str]) -> None:
        await self._call("arm", "", lambda: self._open(slot, groups))

    async def shut(self, groups: Collection[str]) -> None:
        await self._call("shut", " ".join(groups), lambda: self._kernel.shut(groups))

    async def inspect(self) -> GuardState:
        return GuardState(*self._kernel.inspect())

    def _open(self, slot: int, groups: Collection[str]) -> None:
        self._kernel.arm(slot, groups)
        self._process.promised(lambda invariants: invariants.armed(self._process.host, groups))

    async def _call(self, kind: str, detail: str, transaction: Callable[[], object]) -> None:
        await self._process.loop.perform(kind, detail, lambda: self._transact(transaction))

    def _transact(self, transaction: Callable[[], object]) -> None:
        done, error = self._process.cluster.weather.kernel()
        self.failed = error is not None
        if done:
            transaction()
        if error is not None:
            raise ProviderError(error)


class SimulatedAddresses:
    """A `providers.base.Provider` of one group: its addresses in the host's kernel and its clients' connections."""

    def __init__(self, process: Process, group: str) -> None:
        self._process, self._group = process, group
        self._kernel = process.host.kernel

    async def bind(self, grant: Grant) -> None:
        refresh = self._group in self._kernel.bound
        await self._takes(Step.REFRESH if refresh else Step.BIND)
        if self._process.clock() >= grant.expires_at:
            raise StaleGrant("the grant has ended")
        self._kernel.bound.add(self._group)

    async def unbind(self) -> None:
        if not self._process.guard.failed:
            self._process.promised(lambda invariants: invariants.unbinding(self._process.host, self._group))
        await self._takes(Step.SHUT)
        self._kernel.bound.discard(self._group)
        self._kernel.prepared.discard(self._group)

    async def inspect(self) -> Placement:
        return Placement(Place.HERE if self._group in self._kernel.bound else Place.NOWHERE)

    async def preflight(self) -> list[Finding]:
        return []

    async def announce(self) -> None:
        await self._takes(Step.ANNOUNCE)

    async def reset(self) -> None:
        await self._takes(Step.RESET)

    async def _takes(self, step: Step) -> None:
        seconds, error = self._process.cluster.weather.step(step)
        await self._process.loop.pause(seconds, "step", step.value)
        if error is not None:
            raise ProviderError(error)


class SimulatedHooks:
    """Runs hooks, which take time and can fail (`controller.daemon.hooks.HookRunner`)."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def __call__(self, argv: Sequence[str], /, *, context: HookContext, timeout: float) -> None:  # noqa: ASYNC109
        assert context.group in self._process.steps
        step = Step(argv[0])
        if step is Step.CLEANUP:
            self._process.promised(lambda invariants: invariants.cleaning(self._process.host, context.group))
        seconds, error = self._process.cluster.weather.step(step)
        await self._process.loop.pause(min(seconds, timeout), "step", step.value)
        if error is not None or seconds > timeout:
            raise HookError(error or "not done in time")
        if step is Step.PREPARE:
            self._process.host.kernel.prepared.add(context.group)
