"""What a reload takes from a group is guarded for as long as it may still be bound."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from controller.config.loading import from_bytes
from controller.config.model import Config
from controller.core.state import State
from controller.daemon.clock import boottime
from controller.daemon.groups import Groups
from providers.linux.unguarded import Unguarded


def configured(*vips: str) -> Config:
    """A group with these VIPs on the loopback interface, where none of them is."""
    text = f"""
cluster: shop
node: n1
store: {{type: file, path: /nowhere}}
groups:
  web:
    vips: [{", ".join(vips)}]
    providers: [{{type: baremetal, interface: lo, guard_interfaces: [lo]}}]
"""
    return from_bytes(text.encode(), "anyvip.yml")


OLD, NEW = "192.0.2.1/32", "192.0.2.2/32"


@pytest.fixture
async def groups() -> AsyncIterator[Groups]:
    made = Groups(Unguarded(), boottime, lambda _: None)
    made.begin(configured(OLD))
    yield made
    await made.steps["web"].close()


def kept_shut(groups: Groups) -> list[str]:
    return [str(vip) for vip in groups.plan()["web"].vips]


async def test_what_a_reload_takes_from_a_group_is_guarded_until_it_is_unbound(groups: Groups) -> None:
    fresh = configured(NEW)
    made = groups.anew(fresh)
    assert {str(vip) for vip in groups.plan(made)["web"].vips} == {OLD, NEW}, "when the guard is changed"
    groups.configure(fresh, made)
    assert kept_shut(groups) == [OLD], "it waits"
    groups.switch(groups.ready(State()))
    assert set(kept_shut(groups)) == {OLD, NEW}, "while what there was before may be bound"
    await groups.let_go()
    assert kept_shut(groups) == [NEW]


async def test_the_steps_of_a_group_that_stays_as_it_is_stay(groups: Groups) -> None:
    before = groups.steps["web"]
    assert groups.anew(configured(OLD)) == []
    assert groups.steps["web"] is before
