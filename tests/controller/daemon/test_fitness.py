"""Checks and links together decide whether a node is fit."""

from __future__ import annotations

import asyncio

import pytest

from controller.core.events import Judged
from controller.daemon import fitness
from controller.daemon.fitness import Fitness


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Judged]:
    monkeypatch.setattr(fitness, "LINK_DOWN_SECONDS", 0.05)
    return []


async def test_nothing_is_said_before_the_checks_have_answered(told: list[Judged]) -> None:
    fit = Fitness(told.append)
    fit.link_up("web", "eth0")
    assert told == []
    fit.checked("web", healthy=True, why="app")
    fit.checked("web", healthy=True, why="app")
    assert told == [Judged("web", healthy=True, why="app")]


async def test_a_link_that_stays_down_makes_unfit_until_it_is_back(told: list[Judged]) -> None:
    fit = Fitness(told.append)
    fit.checked("web", healthy=True, why="app")
    fit.link_down("web", "eth0")
    fit.link_down("web", "eth0")
    await asyncio.sleep(0.2)
    fit.link_up("web", "eth0")
    assert [event.healthy for event in told] == [True, False, True]
    assert told[1].why == "no carrier: eth0"


async def test_a_link_that_flaps_does_not(told: list[Judged]) -> None:
    fit = Fitness(told.append)
    fit.checked("web", healthy=True, why="app")
    fit.link_down("web", "eth0")
    fit.link_up("web", "eth0")
    await asyncio.sleep(0.2)
    assert len(told) == 1


async def test_a_link_that_is_back_does_not_heal_a_check(told: list[Judged]) -> None:
    fit = Fitness(told.append)
    fit.checked("web", healthy=False, why="app: refused")
    fit.link_down("web", "eth0")
    await asyncio.sleep(0.2)
    fit.link_up("web", "eth0")
    assert told[-1] == Judged("web", healthy=False, why="app: refused")


async def test_a_link_that_is_down_from_the_start_makes_unfit_at_once(told: list[Judged]) -> None:
    fit = Fitness(told.append)
    fit.links("web", frozenset({"eth0"}))
    fit.checked("web", healthy=True, why="app")
    assert told == [Judged("web", healthy=False, why="no carrier: eth0")]


async def test_a_link_that_the_group_needs_no_longer_does_not_count(told: list[Judged]) -> None:
    fit = Fitness(told.append)
    fit.checked("web", healthy=True, why="app")
    fit.link_down("web", "eth0")
    fit.links("web", frozenset())
    await asyncio.sleep(0.2)
    assert len(told) == 1


async def test_a_group_that_is_configured_again_is_judged_again(told: list[Judged]) -> None:
    fit = Fitness(told.append)
    fit.checked("web", healthy=True, why="app")
    fit.link_down("web", "eth0")
    fit.keep([])
    fit.checked("web", healthy=True, why="app")
    await asyncio.sleep(0.2)
    assert [event.healthy for event in told] == [True, True]
