"""A node is ready while it could take over, and otherwise says why not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.core import events as ev
from controller.core.machine import GroupPolicy
from controller.core.records import CLUSTER, Cluster, Session
from controller.daemon.readiness import why_not_ready
from tests.lab.node.lone import Lone


@pytest.fixture
def node() -> Lone:
    return Lone().start().run(1)


def why(node: Lone) -> str:
    return why_not_ready(node.state, node.policy)


def test_a_fit_member_is_ready_whether_it_serves_or_not(node: Lone) -> None:
    assert why(node) == ""
    node.run(4)
    assert node.state.groups["web"].role == "active"
    assert why(node) == ""


def test_before_it_is_a_member_it_is_not() -> None:
    lone = Lone(held=(ev.Clear,))
    assert why(lone.start()) == "session: clearing"


def test_a_node_whose_service_is_dead_is_not(node: Lone) -> None:
    node.tell(ev.Judged("web", healthy=False, why="app: connection refused"))
    assert why(node) == "web: app: connection refused"
    node.tell(ev.Judged("db", healthy=False))
    assert why(node) == "web: app: connection refused; db: unhealthy"
    node.tell(ev.Judged("web", healthy=True))
    node.tell(ev.Judged("db", healthy=True))
    assert why(node) == ""


def test_a_group_that_no_check_has_answered_for(node: Lone) -> None:
    node.policy = replace(node.policy, groups={**node.policy.groups, "new": GroupPolicy()})
    node.run(0.1)
    assert why(node) == "new: no check has answered yet"


def test_a_group_that_it_is_never_to_serve_does_not_count(node: Lone) -> None:
    node.policy = replace(node.policy, groups={"web": GroupPolicy(priority=0), "db": GroupPolicy()})
    node.tell(ev.Judged("web", healthy=False, why="app"))
    assert why(node) == ""


def test_a_store_that_does_not_answer(node: Lone) -> None:
    node.fails |= {ev.Read: "down", ev.Write: "down"}
    node.run(1)
    assert why(node) == "the store does not answer"


def test_a_node_that_is_leaving(node: Lone) -> None:
    node.run(4)
    node.held = (ev.Run,)
    node.tell(ev.Stop())
    assert why(node) == "this daemon is stopping"


def test_a_node_whose_name_is_taken() -> None:
    lone = Lone()
    lone.put("sessions/n1-0", Session("n1", 1, seq=1, writer="other"))
    assert why(lone.start().run(1)) == "not a candidate yet, or another live session is named 'n1'"


def test_a_pause_changes_nothing(node: Lone) -> None:
    node.put(CLUSTER, Cluster(paused=True, seq=1))
    node.run(1)
    assert node.state.groups["web"].role == "paused"
    assert why(node) == ""
