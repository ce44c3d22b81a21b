"""Calls to a cloud: blocking ones, in a few threads, each looked at against the grant just before it leaves.

Vendors' SDKs retry by themselves, wait as they like and know nothing of a lease. So their retries are switched off, and
ours are here: jittered, told by the platform when it knows better, and over when the grant is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from math import inf
from random import Random
from typing import Any, Final, TypeVar

from providers.base import ProviderError, StaleGrant
from providers.cloud.pauses import Pauses
from providers.cloud.refusal import Refusal

T = TypeVar("T")

LEAST_SECONDS: Final = 0.2  # a call that leaves with less before it would take effect when the grant has ended
_FIRST_PAUSE_SECONDS: Final = 0.1  # at most
_LONGEST_PAUSE_SECONDS: Final = 2.0
_RENEWAL_SECONDS: Final = 0.05  # between looks whether the grant has been renewed


class CallRefused(ProviderError):  # noqa: N818  (an answer that the caller acts on)
    """The platform refused. `error` is the vendor's own, for whoever knows what to do about it."""

    def __init__(self, what: str, refusal: Refusal, error: Exception) -> None:
        """`what` was asked."""
        super().__init__(f"{what}: {refusal.message}")
        self.refusal = refusal
        self.error = error


class Calls:
    """The calls of one provider. `close` it at the end."""

    def __init__(
        self,
        name: str,
        *,
        clock: Callable[[], float],
        translate: Callable[[Exception], Refusal | None],
        threads: int | Executor = 8,
        random: Random | None = None,
    ) -> None:
        """`clock` reads CLOCK_BOOTTIME in seconds. `translate`: None for an error that is not the platform's.

        `threads`: how many calls are made at once, at most; they begin when they are needed. Or what makes them.
        """
        self._clock = clock
        self._translate = translate
        self._random = random or Random()
        self._threads = ThreadPoolExecutor(threads, name) if isinstance(threads, int) else threads
        self._under_way: set[Future[Any]] = set()
        self.grant_ends_at = inf  # CLOCK_BOOTTIME; follows the grant while there is one

    def within(self, seconds: float) -> float:
        """The moment that is so many seconds from now (CLOCK_BOOTTIME)."""
        return self._clock() + seconds

    def ends_at(self, until: float) -> float:
        """When a call that leaves now must be over: `until`, or sooner when the grant as it is now ends sooner."""
        return min(until, self.grant_ends_at)

    def left(self, until: float) -> float:
        """Seconds before that: what a vendor's timeout must stay below. Raises StaleGrant when there are too few."""
        left = self.ends_at(until) - self._clock()
        if left < LEAST_SECONDS:
            raise StaleGrant(f"{max(left, 0.0):.3f} s left, too little for a call")
        return left

    async def run(self, what: str, work: Callable[[], T], *, until: float) -> T:
        """The answer to a blocking call, which is made in a thread and again while the platform may yet agree.

        `what` is asked, for messages. No call leaves after `until` (CLOCK_BOOTTIME) or the end of the grant as it is
        then, nor is any waited for after `until`.
        Raises StaleGrant when it is too late for one, CallRefused, ProviderError when none is answered in time.
        """
        pauses = Pauses(self._random, _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        while True:
            try:
                return await self._once(what, work, until)
            except StaleGrant:
                if not self._may_be_renewed(until):
                    raise
                pause = _RENEWAL_SECONDS
            except ProviderError:
                raise
            except Exception as error:
                refusal = self._translate(error)
                if refusal is None:
                    raise
                pause = pauses.next(refusal.after)
                if not refusal.retry or self._clock() + pause + LEAST_SECONDS > until:
                    raise CallRefused(what, refusal, error) from error
            await asyncio.sleep(pause)

    def _may_be_renewed(self, until: float) -> bool:
        """Whether a call comes too late only because the grant as it is now ends soon: it is renewed all the time."""
        return self._clock() < self.grant_ends_at < until

    async def settled(self, until: float) -> None:
        """Wait until no call is under way any more: one that was given up may still land. At most until then."""
        calls = [asyncio.wrap_future(call) for call in tuple(self._under_way)]
        with suppress(TimeoutError):
            async with asyncio.timeout(max(until - self._clock(), 0.0)):
                await asyncio.gather(*calls, return_exceptions=True)

    def close(self) -> None:
        """Begin no more calls. Those under way end by their own timeouts."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _once(self, what: str, work: Callable[[], T], until: float) -> T:
        try:
            call = self._threads.submit(self._made, what, work, until)
        except RuntimeError as error:  # closed, or no thread can be had
            raise ProviderError(f"{what}: {error}") from error
        self._under_way.add(call)
        call.add_done_callback(self._under_way.discard)
        answer = asyncio.wrap_future(call)
        try:
            await asyncio.wait([answer], timeout=max(until - self._clock(), 0.0))
            if not answer.done():
                raise ProviderError(f"{what}: no answer in time; whether it takes effect is not known")
            return answer.result()
        finally:
            answer.cancel()  # a call that still waits for its thread never leaves

    def _made(self, what: str, work: Callable[[], T], until: float) -> T:
        """In the thread: the last look at the clock before the call leaves."""
        try:
            self.left(until)
        except StaleGrant as stale:
            raise StaleGrant(f"{what}: not asked: {stale}") from None
        return work()


async def together(work: Iterable[Awaitable[T]]) -> list[T]:
    """Do all of it at once, each to its end; the answers in order. Raises the first error."""
    begun = list(work)
    if len(begun) == 1:  # as nearly always: a task of its own would only cost turns of the loop
        return [await begun[0]]
    answers: list[T] = []
    for answer in await asyncio.gather(*begun, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer
        answers.append(answer)
    return answers
