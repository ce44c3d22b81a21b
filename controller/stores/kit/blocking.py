"""Runs calls of a blocking SDK in a few threads of the store's own, each under its deadline.

`NotDone` is repeated until the deadline, `OutcomeUnknown` only if sending the request twice does no harm. Any other
error is raised immediately. The SDKs' own retries are off: they know no deadline, and turn a write that landed into a
refusal.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from controller.stores.base import StoreError
from controller.stores.kit.outcome import NotDone, OutcomeUnknown
from providers.cloud.pauses import Pauses

T = TypeVar("T")
THREADS = 8  # twice the calls of a round: those of the previous round may still hang
_FIRST_PAUSE_SECONDS = 0.05  # at most
_LONGEST_PAUSE_SECONDS = 1.0


class Blocking:
    """Runs calls in threads. `name`: the store's, for messages; `call_timeout` in seconds."""

    def __init__(self, name: str, call_timeout: float) -> None:
        self._name = name
        self._call_timeout = call_timeout
        self._threads = ThreadPoolExecutor(THREADS, "store")
        self._chance = random.Random()
        self._closed = False

    def deadline(self) -> float:
        """Return when a request that begins now must have ended, by time.monotonic()."""
        return time.monotonic() + self._call_timeout

    async def run(self, work: Callable[[], T], by: float, *, repeatable: bool) -> T:
        """Run `work` and return its result. Raises what it raises, and StoreError when it does not end in time.

        `work` does not begin after `by`. Once begun it cannot be stopped: a write may land after its StoreError.
        """
        pauses = Pauses(self._chance, _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        failed: StoreError | None = None
        while True:
            try:
                async with asyncio.timeout_at(by):
                    return await asyncio.get_running_loop().run_in_executor(
                        self._pool(), partial(self._begin, work, by)
                    )
            except TimeoutError as error:
                raise failed or self._late() from error
            except (NotDone, OutcomeUnknown) as error:
                if isinstance(error, OutcomeUnknown) and not repeatable:
                    raise
                failed = error
            pause = pauses.next(getattr(failed, "after", None))
            if time.monotonic() + pause >= by:
                raise failed
            await asyncio.sleep(pause)

    def close(self) -> None:
        """Refuse further calls. Calls that have begun run to their end."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _pool(self) -> ThreadPoolExecutor:
        if self._closed:
            raise StoreError(f"{self._name}: this store is closed")
        return self._threads

    def _begin(self, work: Callable[[], T], by: float) -> T:
        if time.monotonic() >= by:  # the threads were busy or the process was frozen: the caller has given up
            raise self._late()
        return work()

    def _late(self) -> StoreError:
        return StoreError(f"{self._name}: no answer within {self._call_timeout:g} s")
