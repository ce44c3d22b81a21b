"""Carries out one group's steps on its providers, its hooks and its part of the guard, one method per `Step`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from controller.core.events import Run, Step
from controller.daemon.capabilities import Capabilities
from controller.daemon.clock import Clock
from controller.daemon.hooks import HookContext, HookRunner, run_hook
from providers.base import Grant, Guard, Provider
from providers.cloud.calls import together

_SHUT_SECONDS = 5.0  # for slow clouds: the kernel answers in microseconds, and the guard is already shut
_TELL_SECONDS = 2.0
_LEAST_PAUSE_SECONDS = 0.05  # between checks whether the grant was renewed


@dataclass(frozen=True, slots=True)
class HookCommands:
    """The commands for promotion and demotion (argv; empty: nothing), and their time limit in seconds."""

    promote: Sequence[str] = ()
    demote: Sequence[str] = ()
    timeout: float = 10.0
    prepare: Sequence[str] = ()
    cleanup: Sequence[str] = ()


class GroupSteps:
    """Carries out the steps of one group. Each raises ProviderError, HookError or TimeoutError."""

    def __init__(  # noqa: PLR0913  (each is given by name)
        self,
        *,
        group: str,
        node: str,
        providers: Sequence[Provider],
        hooks: HookCommands,
        guard: Guard,
        clock: Clock,
        granted: Callable[[str], float | None] = lambda _: None,
        hook: HookRunner = run_hook,
    ) -> None:
        """`granted` returns when the group's grant ends, which moves on while a long bind runs; None without a grant.

        `hook` runs a hook to its end.
        """
        self.group = group
        self.providers = tuple(providers)
        self.able = Capabilities.of(self.providers)
        self.hooks = hooks
        self._node = node
        self._guard = guard
        self._clock = clock
        self._granted = granted
        self._run_hook = hook
        self._steps: Mapping[Step, Callable[[Run], Awaitable[None]]] = {
            Step.BIND: self._bind_for_long,
            Step.REFRESH: self._bind,
            Step.PREPARE: self._prepare,
            Step.ANNOUNCE: self._announce,
            Step.PROMOTE: self._promote,
            Step.DEMOTE: self._demote,
            Step.RESET: self._reset,
            Step.SHUT: self._shut,
            Step.CLEANUP: self._cleanup,
        }

    async def run(self, order: Run) -> None:
        """Carry out one step until it ends or its deadline passes."""
        await self._steps[order.step](order)

    async def unbind(self) -> None:
        """Unbind all that is bound. Raises ProviderError."""
        async with asyncio.timeout(_SHUT_SECONDS):
            await together(provider.unbind() for provider in self.providers)

    async def close(self) -> None:
        """Release what the providers hold. What is bound stays bound until its lifetime ends."""
        await together(provider.close() for provider in self.able.closers)

    async def _bind(self, order: Run) -> None:
        grant = Grant(order.group, order.epoch, order.expires_at)
        async with asyncio.timeout(max(order.expires_at - self._clock(), 0.0)):
            await together(provider.bind(grant) for provider in self.providers)

    async def _bind_for_long(self, order: Run) -> None:
        """Bind, for longer than one grant where a cloud needs it, as long as the grant is renewed."""
        if not self.able.reconciled:
            await self._bind(order)
            return
        grant = Grant(order.group, order.epoch, order.expires_at)
        async with asyncio.timeout(max(order.expires_at - self._clock(), 0.0)) as limit:
            extending = asyncio.create_task(self._extend(grant, limit), name=f"grant of {self.group}")
            try:
                await together(provider.bind(grant) for provider in self.providers)
            finally:
                extending.cancel()
                await asyncio.wait([extending])

    async def _extend(self, grant: Grant, limit: asyncio.Timeout) -> None:
        async for longer in self._renewals(grant):
            limit.reschedule(asyncio.get_running_loop().time() + longer.expires_at - self._clock())
            lasting = [provider.extend(longer) for provider in self.able.lasting]
            await asyncio.gather(*lasting, return_exceptions=True)  # the first refresh reports what is missing

    async def _renewals(self, grant: Grant) -> AsyncIterator[Grant]:
        """Yield the grant each time that it is found renewed. Looks when half of what is left has passed."""
        while True:
            left = grant.expires_at - self._clock()
            await asyncio.sleep(max(left / 2, _LEAST_PAUSE_SECONDS))
            ends = self._granted(self.group)
            if ends is not None and ends > grant.expires_at:
                grant = replace(grant, expires_at=ends)
                yield grant

    async def _announce(self, _: Run) -> None:
        async with asyncio.timeout(_TELL_SECONDS):
            await together(provider.announce() for provider in self.able.announcers)

    async def _reset(self, _: Run) -> None:
        async with asyncio.timeout(_TELL_SECONDS):
            await together(provider.reset() for provider in self.able.resetters)

    async def _shut(self, order: Run) -> None:
        await self._guard.shut([order.group])
        await self.unbind()

    async def _prepare(self, order: Run) -> None:
        await self._hook_while_bound(self.hooks.prepare, order)

    async def _promote(self, order: Run) -> None:
        await self._hook_while_bound(self.hooks.promote, order)

    async def _demote(self, order: Run) -> None:
        await self._hook(self.hooks.demote, order)

    async def _cleanup(self, order: Run) -> None:
        await self._hook(self.hooks.cleanup, order)

    async def _hook_while_bound(self, argv: Sequence[str], order: Run) -> None:
        """Run a hook, and keep the addresses bound while it runs: it can take longer than one grant lasts."""
        keeping: list[asyncio.Task[None]] = []  # begun only for a hook that takes long, since most are short
        loop = asyncio.get_running_loop()
        left = order.expires_at - self._clock()
        later = loop.call_later(max(left / 4, 0.0), lambda: keeping.append(loop.create_task(self._keep(order))))
        try:
            await self._hook(argv, order)
        finally:
            later.cancel()
            for task in keeping:
                task.cancel()
                await asyncio.wait([task])

    async def _keep(self, order: Run) -> None:
        async for longer in self._renewals(Grant(order.group, order.epoch, order.expires_at)):
            binding = [provider.bind(longer) for provider in self.providers]
            await asyncio.gather(*binding, return_exceptions=True)  # the first refresh reports what is missing

    async def _hook(self, argv: Sequence[str], order: Run) -> None:
        if argv:
            context = HookContext(order.group, self._node, order.epoch, order.role, order.reason)
            await self._run_hook(argv, context=context, timeout=self.hooks.timeout)
