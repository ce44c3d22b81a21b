"""A provider built on a cloud's mover: when the network is asked, what is awaited, and what a failure delays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from controller.daemon.clock import boottime
from providers.base import Grant, Guarded, Place, ProviderError, StaleGrant
from providers.cloud import moving as provider_module
from providers.cloud.moving import _LEAVE_SECONDS, Moving
from tests.lab.cloud.small_cloud import ByHand, Cloud, CloudMover, moving
from tests.lab.host.clocks import HandClock, put_forward
from tests.lab.host.processes import LIVENESS, until

Made = tuple[Moving, CloudMover]


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
async def made(cloud: Cloud) -> AsyncIterator[Made]:
    provider, mover = moving(cloud)
    yield provider, mover
    await provider.close()
    assert mover.closed == 1


def grant(epoch: int = 1, seconds: float = 600.0) -> Grant:
    return Grant("web", epoch, boottime() + seconds)


class Timed:
    """Make a provider with a clock that advances by a tenth of a second each time it is read, and only then."""

    def __init__(self, cloud: Cloud, step: float) -> None:
        self.clock = HandClock(step=step)
        self.provider, _ = moving(cloud, move_seconds=5.0, clock=self.clock)


async def test_a_promotion_moves_and_sees_that_it_shows(cloud: Cloud) -> None:
    timed = Timed(cloud, step=0.0)
    cloud.shows_after = 2
    await timed.provider.bind(Grant("web", 1, timed.clock() + 60))
    assert cloud.asked == ["move", "look", "look", "look"]
    assert cloud.holder == "me"
    await timed.provider.close()


async def test_renewals_ask_the_cloud_nothing(made: Made, cloud: Cloud) -> None:
    await made[0].bind(grant())
    cloud.asked.clear()
    for _ in range(5):
        await made[0].bind(grant())
    assert cloud.asked == []


async def test_the_next_epoch_moves_anew(made: Made, cloud: Cloud) -> None:
    await made[0].bind(grant(1))
    cloud.holder = "other"
    await made[0].bind(grant(2))
    assert cloud.holder == "me"


async def test_what_never_shows_is_said(cloud: Cloud) -> None:
    timed = Timed(cloud, step=0.1)
    cloud.shows_after = 1000
    with pytest.raises(ProviderError, match="moved, but not seen: the platform shows elsewhere: other"):
        await timed.provider.bind(Grant("web", 1, timed.clock() + 4))
    cloud.asked.clear()
    cloud.shows_after = 0
    await timed.provider.bind(Grant("web", 1, timed.clock() + 30))
    assert cloud.asked == ["move", "look"], "what was not seen is moved again, in the same epoch, too"
    await timed.provider.close()


async def test_a_move_that_takes_too_long_leaves_another_node_a_try(cloud: Cloud) -> None:
    timed = Timed(cloud, step=0.1)
    cloud.shows_after = 1000
    began_at = timed.clock()
    with pytest.raises(ProviderError, match="not seen"):
        await timed.provider.bind(Grant("web", 1, began_at + 60))
    assert timed.clock() - began_at < 10, "of the grant's 60"
    await timed.provider.close()


async def test_what_a_late_call_took_away_before_it_was_seen_is_moved_again(made: Made, cloud: Cloud) -> None:
    cloud.shows_after = 1
    binding = asyncio.create_task(made[0].bind(grant()))
    await until(lambda: "look" in cloud.asked)
    cloud.holder = "other"
    await binding
    assert cloud.holder == "me"
    assert cloud.asked.count("move") == 2


async def test_a_look_that_fails_after_the_move_is_repeated(cloud: Cloud) -> None:
    timed = Timed(cloud, step=0.0)
    cloud.fails["look"] = 2
    await timed.provider.bind(Grant("web", 1, timed.clock() + 60))
    assert cloud.asked == ["move", "look", "look", "look"]
    await timed.provider.close()


async def test_a_move_that_fails_is_an_error(made: Made, cloud: Cloud) -> None:
    cloud.fails["move"] = 1
    with pytest.raises(ProviderError, match="move failed"):
        await made[0].bind(grant())


async def test_a_grant_that_has_ended_moves_nothing(made: Made, cloud: Cloud) -> None:
    with pytest.raises(StaleGrant):
        await made[0].bind(grant(seconds=0.0))
    assert cloud.asked == []


async def test_drift_is_repaired_beside_the_renewals(made: Made, cloud: Cloud) -> None:
    await made[0].bind(grant())
    cloud.holder = "other"
    assert (await made[0].inspect()).place is Place.ELSEWHERE
    cloud.answering.clear()
    await made[0].bind(grant())
    assert cloud.holder == "other", "the renewal of the guest's addresses does not wait for the cloud"
    cloud.answering.set()
    await until(lambda: cloud.holder == "me")
    cloud.asked.clear()
    await made[0].bind(grant())
    await asyncio.sleep(0.1)
    assert "move" not in cloud.asked, "once"


async def test_a_repair_that_fails_waits_for_the_next_look(
    made: Made, cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    await made[0].bind(grant())
    cloud.holder = "other"
    await made[0].inspect()
    cloud.fails["move"] = 1
    await made[0].bind(grant())
    await until(lambda: "cannot be moved back yet: move: move failed" in caplog.text)
    await made[0].bind(grant())
    await asyncio.sleep(0.1)
    assert cloud.asked.count("move") == 2, "a cloud that refuses is not asked again with each renewal"
    await made[0].inspect()
    await made[0].bind(grant())
    await until(lambda: cloud.holder == "me")


async def test_a_look_that_fails_is_no_evidence(made: Made, cloud: Cloud) -> None:
    await made[0].bind(grant())
    cloud.asked.clear()
    cloud.fails["look"] = 1
    with pytest.raises(ProviderError, match="look failed"):
        await made[0].inspect()
    await made[0].bind(grant())
    assert cloud.asked == ["look"]


async def test_leaving_gives_up_what_is_still_ours(made: Made, cloud: Cloud) -> None:
    await made[0].bind(grant())
    await made[0].unbind()
    assert cloud.holder == ""
    cloud.asked.clear()
    await made[0].unbind()
    assert cloud.asked == [], "once is enough"


async def test_who_never_came_leaves_nothing(made: Made, cloud: Cloud) -> None:
    await made[0].unbind()
    assert cloud.asked == []


async def test_a_cloud_that_fails_does_not_hold_the_release_up(
    made: Made, cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    await made[0].bind(grant())
    cloud.fails["leave"] = 1
    await made[0].unbind()
    assert "leave failed" in caplog.text


async def turns() -> None:
    """Let the loop do everything that it can do now."""
    for _ in range(50):
        await asyncio.sleep(0)


async def given_up(work: Coroutine[Any, Any, None], under_way: Callable[[], bool]) -> None:
    """Begin the work, and cancel it when its call is under way."""
    doing = asyncio.create_task(work)
    await until(under_way)
    doing.cancel()
    await asyncio.wait([doing])


async def test_leaving_comes_after_a_move_that_was_given_up(
    made: Made, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the call would take effect after the next owner's move."""
    monkeypatch.setattr(provider_module, "_LEAVE_SECONDS", LIVENESS)
    provider, mover = made
    cloud.answering.clear()
    await given_up(provider.bind(grant()), lambda: cloud.begun == ["move"])
    leaving = asyncio.create_task(provider.unbind())
    await turns()
    meanwhile = list(mover.asked)
    cloud.answering.set()
    await leaving
    assert meanwhile == ["move"], "what was given up is under way"
    assert cloud.asked == ["move", "leave"]
    assert cloud.holder == ""


@pytest.mark.parametrize("late", [False, True], ids=["soon", "late"])
async def test_no_call_of_an_old_grant_leaves(cloud: Cloud, late: bool) -> None:
    """A thread has taken it, and has not looked at the grant yet. The next owner may be there by then."""
    threads = ByHand()
    provider, _ = moving(cloud, clock=HandClock(), threads=threads)
    await given_up(provider.bind(Grant("web", 1, 1030.0)), lambda: threads.standing == ["move"])
    leaving = asyncio.create_task(provider.unbind())
    await turns()
    if late:
        put_forward(_LEAVE_SECONDS)
        await until(lambda: threads.standing == ["move", "leave"])
        threads.go_on(1)
        await leaving
    threads.go_on(0)
    await turns()
    assert threads.standing == ([] if late else ["leave"])
    if not late:
        threads.go_on(0)
        await leaving
    assert cloud.asked == ["leave"]
    await provider.close()


@pytest.mark.parametrize("before", [None, 1], ids=["standby", "active"])
async def test_a_look_that_was_begun_under_another_epoch_does_not_count(cloud: Cloud, before: int | None) -> None:
    """It shows what this epoch's move has changed since."""
    threads = ByHand()
    provider, _ = moving(cloud, threads=threads)

    async def bind(epoch: int) -> None:
        held = len(threads.standing)
        binding = asyncio.create_task(provider.bind(grant(epoch)))
        while not binding.done():
            await turns()
            if len(threads.standing) > held:
                threads.go_on(held)
        await binding

    if before is not None:
        await bind(before)
    looking = asyncio.create_task(provider.inspect())
    await turns()
    await bind(2)
    cloud.shows_after = 1
    threads.go_on(0)
    assert (await looking).place is Place.ELSEWHERE
    await provider.bind(grant(2))
    await turns()
    assert threads.standing == [], "nothing is moved again"
    await provider.close()


async def test_unbinding_ends_a_repair(made: Made, cloud: Cloud) -> None:
    await made[0].bind(grant())
    cloud.holder = "other"
    await made[0].inspect()
    cloud.begun.clear()
    cloud.answering.clear()
    await made[0].bind(grant())
    await until(lambda: cloud.begun == ["move"])
    leaving = asyncio.create_task(made[0].unbind())
    await asyncio.sleep(0.1)
    cloud.answering.set()
    await leaving
    cloud.asked.clear()
    await asyncio.sleep(0.5)
    assert cloud.asked == []


async def test_a_standby_is_kept_warm_by_looking(made: Made, cloud: Cloud) -> None:
    provider, mover = made
    assert (await provider.inspect()).where == "other"
    assert mover.warmed == 1
    await provider.bind(grant())
    await provider.inspect()
    assert mover.warmed == 1, "who is active is warm"


async def test_without_a_guest_s_part_there_is_nothing_to_guard(made: Made) -> None:
    provider, _ = made
    assert provider.guarded() == Guarded((), ())
    assert provider.interfaces == frozenset()
    provider.unguarded = True
    assert provider.unguarded is False
    await provider.reset()
    assert [finding.subject for finding in await provider.preflight()] == ["cloud"]
