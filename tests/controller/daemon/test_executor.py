"""Each action ends in exactly one event, whatever plugins do; and one step of a group at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from controller.core import events as ev
from controller.core.events import Step
from controller.core.records import SessionId
from controller.daemon.clock import boottime
from controller.daemon.executor import Executor, Surroundings
from controller.daemon.life import Life
from controller.daemon.steps import GroupSteps, HookCommands
from controller.stores.base import Entry, Version
from controller.telemetry.history import History
from controller.telemetry.telemetry import Telemetry
from providers.base import Guard, GuardState
from providers.linux.unguarded import Unguarded

Surprise = Callable[[], BaseException]


@dataclass
class Surprising:
    """A store of somebody else's, whose errors are its own."""

    surprise: Surprise = ValueError

    async def read(self, prefix: str) -> Mapping[str, Entry]:  # noqa: ARG002
        raise self.surprise()

    async def swap(self, key: str, value: bytes | None, expected: Version | None) -> Version:  # noqa: ARG002
        raise self.surprise()

    async def close(self) -> None:
        """Nothing to close."""


class Tardy:
    """A provider whose bind takes its time to be cancelled, and which notes what happens when."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    async def bind(self, _: object) -> None:
        self.noted.append("bind begins")
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.1)
            self.noted.append("bind ends")

    async def unbind(self) -> None:
        self.noted.append("unbind")

    async def reset(self) -> None:
        self.noted.append("reset")


async def carried_out(
    tmp_path: Path,
    actions: list[ev.Action],
    provider: Any = None,
    surprise: Surprise = ValueError,
    guard: Guard = Unguarded(),  # noqa: B008  (it has no state)
) -> list[ev.Event]:
    """The events that come of these actions, each begun as soon as the one before had time to begin."""
    posted: list[ev.Event] = []
    providers = () if provider is None else (provider,)
    steps = GroupSteps(group="web", node="n1", providers=providers, hooks=HookCommands(), guard=guard, clock=boottime)
    life = Life(tmp_path)
    around = Surroundings(Surprising(surprise), guard, {"web": steps}, life, boottime, lambda: SessionId("n1-1"), 1.0)
    telemetry = Telemetry("n1", History(None), now=boottime)
    telemetry.watch(["web"])
    try:
        async with asyncio.TaskGroup() as tasks:
            executor = Executor(around, telemetry, tasks, posted.append)
            for action in actions:
                executor.begin(action)
                for _ in range(3):
                    await asyncio.sleep(0)
    finally:
        life.close()
    return posted


def step(which: Step) -> ev.Run:
    return ev.Run("web", 1, which, boottime() + 60, "active", "test")


@pytest.mark.parametrize("surprise", [lambda: ValueError("bad\nday"), asyncio.CancelledError])
async def test_a_store_s_own_errors_are_answers(tmp_path: Path, surprise: Surprise) -> None:
    actions: list[ev.Action] = [ev.Read(1), ev.Write(2, "key", b"", None)]
    failed, unsure = await carried_out(tmp_path, actions, surprise=surprise)
    error = "ValueError: bad day" if isinstance(surprise(), ValueError) else "CancelledError"
    assert failed == ev.Failed(1, error)
    assert unsure == ev.Unsure(2, error)


@pytest.mark.parametrize("surprise", [OSError("no descriptors"), asyncio.CancelledError()])
async def test_a_provider_s_own_errors_are_answers(tmp_path: Path, surprise: BaseException) -> None:
    async def fail(*_: object) -> None:
        raise surprise

    provider = SimpleNamespace(bind=fail, unbind=fail)
    posted = await carried_out(tmp_path, [ev.Clear(), step(Step.SHUT)], provider)
    assert [type(event) for event in posted] == [ev.Cleared, ev.Ran]
    assert all(type(surprise).__name__ in str(getattr(event, "error", None)) for event in posted)


class Left(Unguarded):
    """A guard and a provider that an earlier life left behind, and which note what is asked of them, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def shut(self, groups: Collection[str]) -> None:
        self.asked.append(f"shut {' '.join(groups)}")

    async def unbind(self) -> None:
        self.asked.append("unbind")


async def test_what_an_earlier_life_left_is_shut_before_it_is_unbound(tmp_path: Path) -> None:
    left = Left()
    assert await carried_out(tmp_path, [ev.Clear()], left, guard=left) == [ev.Cleared(None)]
    assert left.asked == ["shut web", "unbind"]


async def test_a_step_waits_for_all_that_were_begun_before_it(tmp_path: Path) -> None:
    provider = Tardy()
    posted = await carried_out(tmp_path, [step(Step.BIND), step(Step.RESET), step(Step.SHUT)], provider)
    assert provider.noted == ["bind begins", "bind ends", "unbind"]
    assert [event.step for event in posted if isinstance(event, ev.Ran)] == [Step.SHUT]


class Late:
    """A guard and a store whose every call takes a second on the clock that it is given."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    async def start(self, slot: int, seconds: float) -> None:  # noqa: ARG002
        self.now += 1

    async def arm(self, slot: int, groups: Collection[str]) -> None:
        """Not asked here."""

    async def shut(self, groups: Collection[str]) -> None:
        """Not asked here."""

    async def inspect(self) -> GuardState:
        return GuardState(frozenset(), None)

    async def read(self, prefix: str) -> Mapping[str, Entry]:  # noqa: ARG002
        self.now += 1
        return {}

    async def swap(self, key: str, value: bytes | None, expected: Version | None) -> Version:  # noqa: ARG002
        self.now += 1
        return Version("1")

    async def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize(
    ("action", "answer"),
    [
        pytest.param(ev.StartTimer(0, 7.0), ev.TimerStarted(0, 100.0, wall_offset=900.0), id="timer"),
        pytest.param(ev.Read(1), ev.Listed(1, 100.0, {}), id="listing"),
        pytest.param(ev.Write(1, "key", b"", None), ev.Wrote(1, 100.0, Version("1")), id="write"),
    ],
)
async def test_what_is_asked_is_dated_before_it_leaves(tmp_path: Path, action: ev.Action, answer: ev.Event) -> None:
    """Dated later, it would prove too much: another node counts from when it landed."""
    posted: list[ev.Event] = []
    late, life = Late(), Life(tmp_path)
    around = Surroundings(late, late, {}, life, late.clock, lambda: SessionId("n1-1"), 1.0, lambda: late.now + 900.0)
    telemetry = Telemetry("n1", History(None), now=late.clock)
    async with asyncio.TaskGroup() as tasks:
        Executor(around, telemetry, tasks, posted.append).begin(action)
    life.close()
    assert posted == [answer]
    assert late.now == 101.0, "the call was made, and took its time"
