"""A provider made of a cloud's mover: when the network is asked, what is awaited, and what a failure holds up.

The platform is a few lines in memory that one machine or another holds; calls to it are made in real threads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from controller.clock import boottime
from providers.base import Finding, Grant, Guarded, Level, Place, Placement, ProviderError, StaleGrant
from providers.calls import Calls
from providers.moving import Moving
from providers.refusal import Refusal


class CloudError(Exception):
    """What the platform's SDK raises."""


class Cloud:
    """One address of a small platform: who has it, what was asked of it, and what it does wrong."""

    def __init__(self) -> None:
        self.holder = "other"
        self.asked: list[str] = []
        self.seconds = 0.0  # each call's
        self.shows_after = 0  # looks that still show the state before
        self.fails: dict[str, int] = {}  # how many calls of each kind fail

    def move(self, to: str) -> None:
        self._asked("move")
        self.holder = to

    def look(self) -> str:
        self._asked("look")
        if self.shows_after:
            self.shows_after -= 1
            return "other"
        return self.holder

    def leave(self, who: str) -> None:
        self._asked("leave")
        if self.holder == who:
            self.holder = ""

    def _asked(self, what: str) -> None:
        time.sleep(self.seconds)
        self.asked.append(what)
        if self.fails.get(what, 0):
            self.fails[what] -= 1
            raise CloudError(f"{what} failed")


class CloudMover:
    """Moves that address to `me`."""

    def __init__(self, cloud: Cloud, calls: Calls) -> None:
        self.cloud, self.calls = cloud, calls
        self.warmed = self.closed = 0

    async def warm(self, until: float) -> None:  # noqa: ARG002
        self.warmed += 1

    async def move(self, until: float) -> None:
        await self.calls.run("move", lambda: self.cloud.move("me"), until=until)

    async def leave(self, until: float) -> None:
        await self.calls.run("leave", lambda: self.cloud.leave("me"), until=until)

    async def look(self, until: float) -> Placement:
        holder = await self.calls.run("look", self.cloud.look, until=until)
        if holder == "me":
            return Placement(Place.HERE)
        return Placement(Place.ELSEWHERE, holder) if holder else Placement(Place.NOWHERE)

    async def preflight(self) -> list[Finding]:
        return [Finding(Level.OK, "cloud", "is there")]

    def close(self) -> None:
        self.closed += 1


Made = tuple[Moving, CloudMover]


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
async def made(cloud: Cloud) -> AsyncIterator[Made]:
    def translate(error: Exception) -> Refusal | None:
        return Refusal(str(error), retry=False) if isinstance(error, CloudError) else None

    calls = Calls("test", clock=boottime, translate=translate, threads=2)
    mover = CloudMover(cloud, calls)
    moving = Moving(mover, calls, group="web", clock=boottime, reconcile_seconds=60)
    yield moving, mover
    await moving.close()
    assert mover.closed == 1


def grant(epoch: int = 1, seconds: float = 30.0) -> Grant:
    return Grant("web", epoch, boottime() + seconds)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  (the platform tells nobody)
            await asyncio.sleep(0.01)


async def test_a_promotion_moves_and_sees_that_it_shows(made: Made, cloud: Cloud) -> None:
    cloud.shows_after = 2
    await made[0].bind(grant())
    assert cloud.asked == ["move", "look", "look", "look"]
    assert cloud.holder == "me"


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


async def test_what_never_shows_is_said(made: Made, cloud: Cloud) -> None:
    cloud.shows_after = 1000
    with pytest.raises(ProviderError, match="moved, but not seen: the platform shows elsewhere: other"):
        await made[0].bind(grant(seconds=0.8))
    cloud.asked.clear()
    cloud.shows_after = 0
    await made[0].bind(grant())
    assert cloud.asked == ["move", "look"], "what was not seen is moved again, in the same epoch, too"


async def test_a_look_that_fails_after_the_move_is_repeated(made: Made, cloud: Cloud) -> None:
    cloud.fails["look"] = 2
    await made[0].bind(grant())
    assert cloud.asked == ["move", "look", "look", "look"]


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
    cloud.seconds = 0.3
    assert (await made[0].inspect()).place is Place.ELSEWHERE
    began_at = boottime()
    await made[0].bind(grant())
    assert boottime() - began_at < 0.3, "the renewal of the guest's addresses does not wait for the cloud"
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
    await until(lambda: "cannot be moved yet: move: move failed" in caplog.text)
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


async def test_leaving_comes_after_a_move_that_was_given_up(made: Made, cloud: Cloud) -> None:
    """Otherwise it would land after the next owner's move."""
    cloud.seconds = 0.4
    moving = asyncio.create_task(made[0].bind(grant()))
    await asyncio.sleep(0.1)
    moving.cancel()
    await asyncio.wait([moving])
    await made[0].unbind()
    assert cloud.asked == ["move", "leave"]
    assert cloud.holder == ""


async def test_unbinding_ends_a_repair(made: Made, cloud: Cloud) -> None:
    await made[0].bind(grant())
    cloud.holder, cloud.seconds = "other", 0.3
    await made[0].inspect()
    await made[0].bind(grant())
    await asyncio.sleep(0.05)
    await made[0].unbind()
    cloud.asked.clear()
    await asyncio.sleep(0.5)
    assert cloud.asked == []


async def test_a_standby_is_kept_warm_by_looking(made: Made, cloud: Cloud) -> None:
    moving, mover = made
    assert (await moving.inspect()).where == "other"
    assert mover.warmed == 1
    await moving.bind(grant())
    await moving.inspect()
    assert mover.warmed == 1, "who is active is warm"


async def test_without_a_guest_s_part_there_is_nothing_to_guard(made: Made) -> None:
    moving, _ = made
    assert moving.guarded() == Guarded((), ())
    assert moving.interfaces == frozenset()
    moving.unguarded = True
    assert moving.unguarded is False
    await moving.reset()
    assert [finding.subject for finding in await moving.preflight()] == ["cloud"]
