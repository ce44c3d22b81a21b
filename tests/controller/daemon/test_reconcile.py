"""When the network is looked at, and what follows of what it shows. The clock is set by hand; the looks are real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from random import Random

import pytest

from controller.core import events as ev
from controller.daemon.clock import boottime
from controller.daemon.reconcile import SOON_SECONDS, STANDBY_SECONDS, Budget, Reconciler
from controller.daemon.steps import GroupSteps, HookCommands
from controller.telemetry.history import History
from controller.telemetry.telemetry import Telemetry
from providers.base import Grant, Provider
from providers.linux.unguarded import Unguarded
from tests.lab.cloud.small_cloud import Cloud, moving
from tests.lab.host.processes import until


class Scene:
    """One node with one group in a small cloud. `now` is set by the test."""

    def __init__(self, budget: Budget | None = None) -> None:
        self.now = 1000.0
        self.cloud = Cloud()
        self.provider, self.mover = moving(self.cloud)
        self.groups: dict[str, GroupSteps] = {}
        self.active: dict[str, int] = {}
        self.posted: list[ev.Event] = []
        self.telemetry = Telemetry("n1", History(None), now=boottime)
        self.put("web", self.provider)
        self.reconciler = Reconciler(
            groups=self.groups,
            active=lambda: self.active,
            budget=budget or Budget(6000, 10000, self.now),
            clock=lambda: self.now,
            telemetry=self.telemetry,
            post=self.posted.append,
            random=Random(1),
        )

    def put(self, name: str, provider: Provider) -> None:
        self.groups[name] = GroupSteps(
            group=name, node="n1", providers=(provider,), hooks=HookCommands(), guard=Unguarded(), clock=boottime
        )
        self.telemetry.watch(self.groups)

    async def look(self) -> list[str]:
        """Take the looks that are due now; the groups looked at."""
        due = list(self.reconciler._due())
        for watch in due:
            await self.reconciler._look(watch)
        return [watch.group for watch in due]

    async def looks_within(self, seconds: float) -> list[float]:
        """When looks come within the next seconds, counted from now."""
        began, looks = self.now, []
        while self.now < began + seconds:
            if await self.look():
                looks.append(self.now - began)
            self.now += 0.5
        return looks

    def counted(self, name: str) -> float | None:
        return self.telemetry.metrics.registry.get_sample_value(name, {"group": "web"})


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    yield made
    await made.provider.close()


def grant(epoch: int = 1) -> Grant:
    return Grant("web", epoch, boottime() + 600)


async def test_after_taking_over_looks_come_early_then_once_per_period(scene: Scene) -> None:
    await scene.provider.bind(grant())
    scene.active["web"] = 1
    looks = await scene.looks_within(300)
    early, later = looks[: len(SOON_SECONDS)], looks[len(SOON_SECONDS) :]
    assert early == [1.0, 3.0, 8.0, 18.0, 48.0], "each pause counts from the look before"
    gaps = [after - before for before, after in pairwise(looks[4:])]
    assert len(later) in (4, 5)
    assert all(54 <= gap <= 60.5 for gap in gaps), "60 s, a little sooner each time by chance"


async def test_a_standby_is_looked_at_at_once_and_then_rarely(scene: Scene) -> None:
    looks = await scene.looks_within(3 * STANDBY_SECONDS)
    assert looks[0] == 0.0
    assert len(looks) in (3, 4)
    assert scene.mover.warmed == len(looks)
    assert scene.posted == []


async def test_drift_is_posted_repaired_and_counted(scene: Scene) -> None:
    await scene.provider.bind(grant())
    scene.active["web"] = 1
    await scene.looks_within(2)
    scene.cloud.holder = "other"
    await scene.looks_within(2)
    assert scene.posted == [ev.Drifted("web", "the network shows: elsewhere other")]
    await scene.provider.bind(grant())
    await until(lambda: scene.cloud.holder == "me")
    assert await scene.looks_within(1.5), "soon after a drift one looks again"
    assert len(scene.posted) == 1
    assert scene.counted("anyvip_drift_repaired_total") == 1
    assert scene.counted("anyvip_looks_total") == 3


async def test_what_cannot_be_repaired_is_tried_less_and_less_often(scene: Scene) -> None:
    scene.active["web"] = 1
    looks = await scene.looks_within(300)
    assert len(scene.posted) == len(looks)
    assert looks[:3] == [1.0, 2.0, 4.0]
    assert len(looks) < 12


async def test_a_look_that_fails_is_counted_and_drops_nothing(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    await scene.provider.bind(grant())
    scene.active["web"] = 1
    scene.cloud.fails["look"] = 1
    await scene.looks_within(2)
    assert scene.posted == []
    assert scene.counted("anyvip_look_failures_total") == 1
    assert "look failed" in caplog.text
    assert await scene.looks_within(2.5), "the next one comes when it would have come"


async def test_what_is_seen_after_the_group_is_given_up_means_nothing(scene: Scene) -> None:
    scene.active["web"] = 1
    list(scene.reconciler._due())
    scene.now += 1
    (watch,) = scene.reconciler._due()
    scene.active["web"] = 2
    await scene.reconciler._look(watch)
    assert scene.posted == []


async def test_a_new_epoch_begins_anew(scene: Scene) -> None:
    scene.cloud.holder = "me"
    scene.active["web"] = 1
    await scene.looks_within(100)
    scene.active["web"] = 2
    assert (await scene.looks_within(4))[:2] == [1.0, 3.0]


async def test_a_reload_s_provider_begins_anew_and_the_old_one_is_forgotten(scene: Scene) -> None:
    await scene.looks_within(1)
    other, mover = moving(Cloud())
    scene.put("web", other)
    warmed = scene.mover.warmed
    await scene.looks_within(1)
    assert (mover.warmed, scene.mover.warmed) == (1, warmed)
    assert len(scene.reconciler._watches) == 1
    await other.close()


async def test_what_needs_no_looking_is_not_looked_at(scene: Scene) -> None:
    scene.groups.clear()
    assert await scene.looks_within(10) == []


def test_the_budget_holds_in_the_long_run() -> None:
    budget = Budget(0.5, 3, 0.0)
    taken = [second for second in range(3600) if budget.take(float(second))]
    assert taken[:3] == [0, 1, 2]
    assert len(taken) in (32, 33), "the burst, and 30 in an hour"


async def test_within_a_budget_the_active_come_first_and_nobody_starves() -> None:
    scene = Scene(Budget(60, 1, 1000.0))
    others = [moving(Cloud(), reconcile_seconds=5) for _ in range(3)]
    for number, (provider, _) in enumerate(others):
        scene.put(f"g{number}", provider)
        scene.active[f"g{number}"] = 1
    seen: list[str] = []
    for _ in range(60):
        seen += await scene.look()
        scene.now += 1
    assert len(seen) <= 61
    assert {seen.count(f"g{number}") for number in range(3)} <= set(range(9, 16))
    assert "web" in seen, "the standby's turn comes when the others have had theirs"
    for provider, _ in (*others, (scene.provider, None)):
        await provider.close()


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.daemon.reconcile._TICK_SECONDS", 0.01)
    monkeypatch.setattr("controller.daemon.reconcile._NOTHING_SECONDS", 0.01)


@pytest.mark.usefixtures("no_pause")
async def test_what_a_reload_brings_is_looked_at() -> None:
    scene = Scene()
    scene.groups.clear()
    running = asyncio.create_task(scene.reconciler.run())
    await asyncio.sleep(0.05)
    assert scene.cloud.asked == []
    scene.put("web", scene.provider)
    await until(lambda: "look" in scene.cloud.asked)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await scene.provider.close()


@pytest.mark.usefixtures("no_pause")
async def test_looks_of_several_groups_do_not_wait_for_each_other() -> None:
    scene = Scene()
    slow = Cloud()
    slow.answering.clear()
    provider, _ = moving(slow)
    scene.put("slow", provider)
    running = asyncio.create_task(scene.reconciler.run())
    await until(lambda: bool(slow.begun and scene.cloud.asked))
    assert slow.asked == []
    slow.answering.set()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await provider.close()
    await scene.provider.close()
