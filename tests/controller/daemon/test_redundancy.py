"""Who could take over, who has left, and what a node that is cut off may still say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.core import events as ev
from controller.core.machine import Role
from controller.core.records import Ending, Membership, Ownership, Session, SessionId
from controller.daemon.redundancy import (
    REMEMBERED_FOR,
    explain_unfit,
    find_owner,
    find_standbys,
    is_served,
    is_silent,
    list_left,
)
from tests.lab.node.lone import TIMING, Lone

LEASE = TIMING.lease_duration
OTHER = SessionId("n2-a")
UNIX = 1000.0  # what the wall clock is ahead


def fit(node: str, **more: object) -> Session:
    groups = {"web": Membership(healthy=True)}
    return replace(Session(node, 1, groups=groups, seq=1), **more)  # type: ignore[arg-type]


@pytest.fixture
def active() -> Lone:
    core = Lone().start(wall_offset=UNIX)
    core.run(4)
    assert core.state.groups["web"].role is Role.ACTIVE
    return core


@pytest.fixture
def standby() -> Lone:
    """n2 serves web."""
    core = Lone()
    groups = {"web": Membership(healthy=True, serving=7)}
    core.put(f"sessions/{OTHER}", fit("n2", groups=groups))
    core.put("groups/web", Ownership(OTHER, "n2", 7, seq=7))
    core.put("sessions/n3-a", fit("n3"))
    return core.start(wall_offset=UNIX).run(1)


def cut_off(core: Lone, seconds: float) -> None:
    core.fails |= {ev.Read: "down", ev.Write: "down"}
    core.run(seconds)


def served(core: Lone) -> bool | None:
    return is_served(core.state, "web", core.now, LEASE)


def owner(core: Lone) -> str | None:
    return find_owner(core.state, "web", core.now, LEASE)


def test_who_serves_and_who_could(active: Lone) -> None:
    assert (served(active), owner(active)) == (True, "n1")
    assert find_standbys(active.state, "web", active.now, LEASE) == []
    active.put("sessions/n2-a", fit("n2"))
    active.run(1)
    assert find_standbys(active.state, "web", active.now, LEASE) == ["n2"]
    assert explain_unfit(active.state, "web", active.now, LEASE) == {}


def test_why_others_could_not(active: Lone) -> None:
    active.put("sessions/n2-a", fit("n2", groups={"web": Membership(why="app: refused")}))
    active.put("sessions/n3-a", fit("n3", groups={}))
    active.put("sessions/n4-a", fit("n4", groups={"web": Membership(priority=0, healthy=True)}))
    active.put("sessions/n5-a", fit("n5", campaigning=False))
    active.put("sessions/n6-a", fit("n6", groups={"web": Membership()}))
    active.put("sessions/n7-a", fit("n7", fenced=True, ended=Ending("n1", "silent", active.now + UNIX, 1.0)))
    active.put("sessions/n8-a", fit("n8", fenced=True, ended=Ending("n8", "left", active.now + UNIX)))
    active.run(1)
    assert explain_unfit(active.state, "web", active.now, LEASE) == {
        "n2": "unhealthy: app: refused",
        "n3": "does not have this group in its configuration",
        "n4": "priority 0: never active",
        "n5": "another live node has its name, or it has just started",
        "n6": "unhealthy, or not checked yet",
        "n7": "gone: fenced by n1",
        "n8": "left in order",
    }
    active.run(LEASE)
    assert explain_unfit(active.state, "web", active.now, LEASE)["n2"].startswith("silent for ")


def test_who_has_left_is_remembered_for_a_day_unless_it_is_back(active: Lone) -> None:
    at = active.now + UNIX
    active.put("sessions/n2-a", fit("n2", fenced=True, ended=Ending("n1", "silent", at - 5, at - 8)))
    active.put("sessions/n2-b", fit("n2", fenced=True, ended=Ending("n2", "left", at)))
    active.put("sessions/n3-a", fit("n3", fenced=True, ended=Ending("n3", "left", at)))
    active.put("sessions/n3-b", fit("n3"))
    active.put("sessions/n4-a", fit("n4", fenced=True, ended=Ending("n1", "silent", at - REMEMBERED_FOR - 1, at)))
    active.put("sessions/n5-a", fit("n5", fenced=True))  # by an older version
    active.put("sessions/n6-a", Session("", fenced=True, ended=Ending("n1", "missing", at)))
    active.run(1)
    assert [(left["node"], left["why"], left["silent_since"]) for left in list_left(active.state, active.now)] == [
        ("n2", "left", None)
    ]


def test_a_node_that_is_cut_off_does_not_call_itself_active_when_its_grant_has_ended(active: Lone) -> None:
    cut_off(active, TIMING.renew_deadline + 0.2)
    assert active.state.names_us("web")
    assert (owner(active), served(active)) == (None, False), "its own grant has ended, and it heard of nobody else"
    cut_off(active, LEASE)
    assert (owner(active), served(active)) == (None, None)


def test_a_node_that_is_cut_off_does_not_call_the_others_silent(standby: Lone) -> None:
    since = standby.state.store.sightings[f"sessions/{OTHER}"].since
    assert is_silent(standby.state, since, standby.now, LEASE) is False
    cut_off(standby, 2 * LEASE)
    assert is_silent(standby.state, since, standby.now, LEASE) is None
    assert (owner(standby), served(standby)) == (None, None)
    assert explain_unfit(standby.state, "web", standby.now, LEASE)["n3"] == "not known: this node is cut off"


def test_another_node_serves_while_its_session_says_so(standby: Lone) -> None:
    assert (owner(standby), served(standby)) == ("n2", True)
    standby.put(f"sessions/{OTHER}", fit("n2", beat=2, seq=2))
    standby.run(1)
    assert served(standby) is False, "it owns the group, but does not serve it"
    standby.held = (ev.Write,)  # or it would be taken over
    standby.put(f"sessions/{OTHER}", fit("n2", beat=3, seq=3, fenced=True))
    standby.run(1)
    assert served(standby) is False


def test_nobody_has_a_group_that_was_never_seen(active: Lone) -> None:
    assert find_owner(active.state, "none", active.now, LEASE) is None
    assert is_served(active.state, "none", active.now, LEASE) is False
