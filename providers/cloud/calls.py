"""Calls to a cloud: blocking ones, in a few threads, each looked at against the grant just before it leaves.

Vendors' SDKs retry by themselves, wait as they like and know nothing of a lease. So their retries are switched off, and
ours are here: jittered, told by the platform when it knows better, and over when the grant is.
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

    def within(self, seconds: float) -> Deadline:
        """The end of calls that no grant limits: so many seconds from now."""
        return Deadline.within(seconds, self._clock)

    async def run(self, what: str, work: Callable[[], T], *, until: Deadline) -> T:
        """The answer to a blocking call, which is made in a thread and again while the platform may yet agree.

        `what` is asked, for messages. No call leaves after `until`, which the end of the grant as it is then may bring
        forward, and no answer is waited for after `until.at`.
        Raises StaleGrant when it is too late for one, CallRefused, ProviderError when none is answered in time.
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
        """Wait until no call is under way any more: one that was given up may still land. At most until then."""
        calls = [asyncio.wrap_future(call) for call in tuple(self._under_way)]
        with suppress(TimeoutError):
            async with asyncio.timeout(until.waiting()):
                await asyncio.gather(*calls, return_exceptions=True)

    def close(self) -> None:
        """Begin no more calls. Those under way end by their own timeouts."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _once(self, what: str, work: Callable[[], T], until: Deadline) -> T:
        try:
            call = self._threads.submit(self._made, what, work, until)
        except RuntimeError as error:  # closed, or no thread can be had
            raise ProviderError(f"{what}: {error}") from error
        self._under_way.add(call)
        call.add_done_callback(self._under_way.discard)
        answer = asyncio.wrap_future(call)
        try:
            await asyncio.wait([answer], timeout=until.waiting())
            if not answer.done():
                raise ProviderError(f"{what}: no answer in time; whether it takes effect is not known")
            return answer.result()
        finally:
            answer.cancel()  # a call that still waits for its thread never leaves

    def _made(self, what: str, work: Callable[[], T], until: Deadline) -> T:
        """In the thread: the last look at the clock before the call leaves."""
        try:
            until.left()
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
