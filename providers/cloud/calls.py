"""Blocking calls to a cloud, made in a few threads and checked against the grant just before they leave.

Vendors' SDKs retry by themselves, choose their own pauses and do not know the lease. So their retries are switched off,
and ours are here: with jitter, later if the platform asks for it, and never past the end of the grant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from random import Random
from typing import Any, Final, TypeVar

from providers.base import ProviderError, StaleGrant
from providers.cloud.deadline import LEAST_SECONDS, Deadline
from providers.cloud.pauses import Pauses
from providers.cloud.refusal import Refusal

T = TypeVar("T")

_FIRST_PAUSE_SECONDS: Final = 0.1  # upper bound of the first pause
_LONGEST_PAUSE_SECONDS: Final = 2.0
_RENEWAL_SECONDS: Final = 0.05  # pause between checks whether the grant has been renewed


class CallRefused(ProviderError):  # noqa: N818  (an answer that the caller acts on)
    """The platform refused a call. `error` is the vendor's own, for callers that can handle it."""

    def __init__(self, what: str, refusal: Refusal, error: Exception) -> None:
        """`what` names the call."""
        super().__init__(f"{what}: {refusal.message}")
        self.refusal = refusal
        self.error = error


class Calls:
    """The calls of one provider. Close it at the end."""

    def __init__(
        self,
        name: str,
        *,
        clock: Callable[[], float],
        translate: Callable[[Exception], Refusal | None],
        threads: int | Executor = 8,
        random: Random | None = None,
    ) -> None:
        """`clock` reads CLOCK_BOOTTIME in seconds. `translate` returns None for an error that is not the platform's.

        `threads` is the highest number of calls at a time; threads start when they are needed. It can also be an
        executor.
        """
        self._clock = clock
        self._translate = translate
        self._random = random or Random()
        self._threads = ThreadPoolExecutor(threads, name) if isinstance(threads, int) else threads
        self._under_way: set[Future[Any]] = set()

    def within(self, seconds: float) -> Deadline:
        """Return a deadline that is `seconds` from now, for calls that no grant limits."""
        return Deadline.within(seconds, self._clock)

    async def run(self, what: str, work: Callable[[], T], *, until: Deadline) -> T:
        """Make a blocking call in a thread and return its answer, with retries while the platform might still agree.

        `what` names the call in messages. No call leaves after `until`, or after the end of the current grant if that
        is sooner. No answer is awaited after `until.at`. Raises StaleGrant when it is too late for a call, CallRefused
        when the platform refuses, ProviderError when no call is answered in time.
        """
        pauses = Pauses(self._random, _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        while True:
            try:
                return await self._once(what, work, until)
            except StaleGrant:
                if not until.may_be_renewed():
                    raise
                pause = _RENEWAL_SECONDS
            except ProviderError:
                raise
            except Exception as error:
                refusal = self._translate(error)
                if refusal is None:
                    raise
                pause = pauses.next(refusal.after)
                if not refusal.retry or until.waiting() < pause + LEAST_SECONDS:
                    raise CallRefused(what, refusal, error) from error
            await asyncio.sleep(pause)

    async def settled(self, until: Deadline) -> None:
        """Wait until no call is under way, at most until `until`: a call that was given up can still take effect."""
        calls = [asyncio.wrap_future(call) for call in tuple(self._under_way)]
        with suppress(TimeoutError):
            async with asyncio.timeout(until.waiting()):
                await asyncio.gather(*calls, return_exceptions=True)

    def close(self) -> None:
        """Make no more calls. Those under way end by their own timeouts."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _once(self, what: str, work: Callable[[], T], until: Deadline) -> T:
        try:
            call = self._threads.submit(self._make, what, work, until)
        except RuntimeError as error:  # closed, or no thread can be started
            raise ProviderError(f"{what}: {error}") from error
        self._under_way.add(call)
        call.add_done_callback(self._under_way.discard)
        answer = asyncio.wrap_future(call)
        try:
            await asyncio.wait([answer], timeout=until.waiting())
            if not answer.done():
                raise ProviderError(f"{what}: no answer in time; it might still take effect")
            return answer.result()
        finally:
            answer.cancel()  # so that a call that still waits for a thread never leaves

    def _make(self, what: str, work: Callable[[], T], until: Deadline) -> T:
        """Check the clock a last time, in the thread, and make the call."""
        try:
            until.left()
        except StaleGrant as stale:
            raise StaleGrant(f"{what}: not sent: {stale}") from None
        return work()


async def together(work: Iterable[Awaitable[T]]) -> list[T]:
    """Await everything at the same time, each to its end, and return the answers in order. Raises the first error."""
    begun = list(work)
    if len(begun) == 1:  # the usual case, in which a separate task would only cost turns of the loop
        return [await begun[0]]
    answers: list[T] = []
    for answer in await asyncio.gather(*begun, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer
        answers.append(answer)
    return answers
