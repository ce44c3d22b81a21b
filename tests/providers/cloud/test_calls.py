"""Calls to a cloud over real threads: when one leaves, when it is retried, and when the wait for it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from random import Random

import pytest

from controller.daemon.clock import boottime
from providers.base import ProviderError, StaleGrant
from providers.cloud.calls import CallRefused, Calls, together
from providers.cloud.deadline import LEAST_SECONDS, Deadline, GrantEnd
from providers.cloud.refusal import Refusal
from tests.lab.host.clocks import HandClock
from tests.lab.host.processes import LIVENESS, until


class VendorError(Exception):
    """An SDK's error, which `translate` turns into a refusal with these `retry` and `after`."""

    def __init__(self, retry: bool, after: float | None = None) -> None:
        super().__init__("slow down" if retry else "forbidden")
        self.retry, self.after = retry, after


def translate(error: Exception) -> Refusal | None:
    return Refusal(str(error), error.retry, error.after) if isinstance(error, VendorError) else None


@pytest.fixture
def calls() -> Iterator[Calls]:
    made = Calls("test", clock=boottime, translate=translate, threads=2, random=Random(1))
    yield made
    made.close()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def timed(clock: HandClock) -> Iterator[Calls]:
    """Make calls by a clock that the test sets."""
    made = Calls("test", clock=clock, translate=translate, threads=2, random=Random(1))
    yield made
    made.close()


class Answers:
    """A blocking call that raises or returns the given answers one after the other, and repeats the last one.

    Each takes `takes` seconds of a clock that stands still otherwise.
    """

    def __init__(self, *answers: Exception | str, clock: HandClock | None = None, takes: float = 0.0) -> None:
        self._answers = list(answers)
        self._clock = clock
        self._takes = takes
        self.at: list[float] = []
        self.threads: set[int] = set()

    def __call__(self) -> str:
        self.at.append(boottime() if self._clock is None else self._clock())
        if self._clock is not None:
            self._clock.now += self._takes
        self.threads.add(threading.get_ident())
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Held:
    """A blocking call that is under way until `go`."""

    def __init__(self) -> None:
        self.begun = self.ended = 0
        self.go = threading.Event()

    def __call__(self) -> bool:
        self.begun += 1
        gone = self.go.wait(LIVENESS)
        self.ended += 1
        return gone


def soon(seconds: float = 600.0, grant: GrantEnd | None = None) -> Deadline:
    return Deadline.within(seconds, boottime, grant)


async def test_the_answer_comes_from_another_thread(calls: Calls) -> None:
    work = Answers("here")
    assert await calls.run("look", work, until=soon()) == "here"
    assert work.threads.isdisjoint({threading.get_ident()})


async def test_what_passes_is_asked_again(calls: Calls) -> None:
    work = Answers(VendorError(retry=True), VendorError(retry=True), "here")
    assert await calls.run("move", work, until=soon()) == "here"
    assert len(work.at) == 3


async def test_what_does_not_pass_is_said_with_the_vendor_s_error(calls: Calls) -> None:
    work = Answers(VendorError(retry=False))
    with pytest.raises(CallRefused, match=r"^move eth0: forbidden$") as refused:
        await calls.run("move eth0", work, until=soon())
    assert isinstance(refused.value.error, VendorError)
    assert refused.value.refusal.retry is False
    assert len(work.at) == 1


async def test_the_platform_s_own_pause_is_kept(calls: Calls) -> None:
    work = Answers(VendorError(retry=True, after=0.4), "here")
    await calls.run("move", work, until=soon())
    assert work.at[1] - work.at[0] >= 0.4


async def test_no_call_leaves_after_its_time(timed: Calls, clock: HandClock) -> None:
    ends = Deadline.within(LEAST_SECONDS + 2.0, clock)
    work = Answers(VendorError(retry=True), clock=clock, takes=0.3)
    with pytest.raises(CallRefused, match="slow down"):
        await timed.run("move", work, until=ends)
    assert max(work.at) <= ends.at - LEAST_SECONDS
    assert len(work.at) > 1


async def test_a_pause_beyond_the_deadline_is_not_begun(calls: Calls) -> None:
    with pytest.raises(CallRefused):  # immediately, not after an hour
        await calls.run("move", Answers(VendorError(retry=True, after=3600)), until=soon())


@pytest.mark.parametrize("left", [-1.0, 0.0, LEAST_SECONDS / 2])
async def test_too_late_is_not_asked(calls: Calls, left: float) -> None:
    work = Answers("here")
    with pytest.raises(StaleGrant, match="move: not sent"):
        await calls.run("move", work, until=soon(left))
    assert work.at == []


async def test_no_call_leaves_after_the_grant_as_it_is_then(timed: Calls, clock: HandClock) -> None:
    work = Answers(VendorError(retry=True), "here", clock=clock, takes=1.3)
    grant = GrantEnd(clock() + LEAST_SECONDS + 1.0)
    with pytest.raises(StaleGrant):
        await timed.run("move", work, until=Deadline.within(600, clock, grant))
    assert len(work.at) == 1


async def test_a_grant_that_is_renewed_meanwhile_counts(timed: Calls, clock: HandClock) -> None:
    hold, work = Held(), Answers("here", clock=clock)
    grant = GrantEnd(clock() + LEAST_SECONDS + 1.0)

    def refused_first() -> str:
        if not hold.ended and hold():
            raise VendorError(retry=True)
        return work()

    moving = asyncio.create_task(timed.run("move", refused_first, until=Deadline.within(600, clock, grant)))
    await until(lambda: hold.begun == 1)
    clock.now += 1.3
    grant.at = clock() + 30
    hold.go.set()
    assert await moving == "here"
    assert Deadline.within(5, clock, grant).left() == 5
    assert Deadline.within(60, clock, grant).seconds() == 30


async def test_a_grant_about_to_end_is_waited_for_to_be_renewed(calls: Calls) -> None:
    """Too little time is left for a call now, but a renewal can still come."""
    work = Answers(StaleGrant("too little for this vendor's call"), "here")
    grant = GrantEnd(boottime() + 600)
    assert await calls.run("move", work, until=soon(900, grant)) == "here"
    with pytest.raises(StaleGrant):  # here the deadline is near, not the end of the grant
        await calls.run("move", Answers(StaleGrant("too little")), until=soon(300, grant))


async def test_the_clock_is_read_in_the_thread(timed: Calls, clock: HandClock) -> None:
    """Both threads are busy, so the call waits for its turn until it is too late. Then it must not leave."""
    hold, work = Held(), Answers("here")
    holding = [asyncio.create_task(timed.run("hold", hold, until=Deadline.within(600, clock))) for _ in range(2)]
    await until(lambda: hold.begun == 2)
    waiting = asyncio.create_task(timed.run("move", work, until=Deadline.within(600, clock)))
    await until(lambda: len(timed._under_way) == 3)
    clock.now += 600
    hold.go.set()
    with pytest.raises(StaleGrant, match="move: not sent"):
        await waiting
    await asyncio.gather(*holding)
    assert work.at == []


async def test_nobody_waits_after_the_deadline(timed: Calls, clock: HandClock) -> None:
    hold = Held()
    try:
        with pytest.raises(ProviderError, match="no answer in time"):
            await timed.run("move", hold, until=Deadline.within(LEAST_SECONDS + 0.2, clock))
    finally:
        hold.go.set()


async def test_a_timeout_of_the_vendor_s_is_the_vendor_s(calls: Calls) -> None:
    """Sockets raise `TimeoutError`, too."""
    with pytest.raises(TimeoutError, match="read"):
        await calls.run("look", Answers(TimeoutError("read")), until=soon())


async def test_what_is_cancelled_while_it_waits_for_a_thread_never_leaves(calls: Calls) -> None:
    hold, work = Held(), Answers("here")
    holding = [asyncio.create_task(calls.run("hold", hold, until=soon())) for _ in range(2)]
    await until(lambda: hold.begun == 2)
    waiting = asyncio.create_task(calls.run("move", work, until=soon()))
    await until(lambda: len(calls._under_way) == 3)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    hold.go.set()
    await asyncio.gather(*holding)
    await calls.settled(soon())
    assert work.at == []


async def test_settled_waits_for_what_was_given_up(calls: Calls) -> None:
    slow = Held()
    given_up = asyncio.create_task(calls.run("move", slow, until=soon()))
    await until(lambda: slow.begun == 1)
    given_up.cancel()
    settling = asyncio.create_task(calls.settled(soon()))
    await asyncio.sleep(0.1)
    assert not settling.done()
    slow.go.set()
    await settling
    assert slow.ended == 1
    await calls.settled(soon())  # nothing is under way


async def test_settled_does_not_wait_longer_than_told(calls: Calls) -> None:
    hold = Held()
    holding = asyncio.create_task(calls.run("hold", hold, until=soon()))
    await until(lambda: hold.begun == 1)
    await calls.settled(soon(0.1))
    assert not holding.done()
    hold.go.set()
    assert await holding


async def test_an_error_that_is_not_the_platform_s_is_not_translated(calls: Calls) -> None:
    with pytest.raises(KeyError, match="ours"):
        await calls.run("look", Answers(KeyError("ours")), until=soon())


async def test_closed_is_closed(calls: Calls) -> None:
    calls.close()
    with pytest.raises(ProviderError, match="look"):
        await calls.run("look", Answers("here"), until=soon())


async def test_of_what_is_done_together_each_comes_to_its_end() -> None:
    """Or what still goes on would meet what follows an error: an address that is bound while all are unbound."""
    refused, may_end = asyncio.Event(), asyncio.Event()

    async def fail() -> None:
        refused.set()
        raise ProviderError("refused")

    doing = asyncio.create_task(together([fail(), may_end.wait()]))
    await refused.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not doing.done(), "the other one goes on"
    may_end.set()
    with pytest.raises(ProviderError, match="refused"):
        await doing


async def test_pauses_are_drawn_anew_each_time_and_grow() -> None:
    """Full jitter: of many callers that fail at the same time, no two retry at the same time."""
    work = Answers(*[VendorError(retry=True)] * 4, "here")
    calls = Calls("test", clock=boottime, translate=translate, random=Random(7))
    await calls.run("move", work, until=soon())
    calls.close()
    same = Random(7)
    drawn = [same.uniform(0, longest) for longest in (0.1, 0.2, 0.4, 0.8)]
    seen = [later - sooner for sooner, later in zip(work.at, work.at[1:], strict=False)]
    assert all(pause >= least for pause, least in zip(seen, drawn, strict=True))
