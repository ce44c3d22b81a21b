"""An error in one group's decision is that group's: it is shut and given back, and the others go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from controller.core import events as ev
from controller.core import machine, membership
from controller.core.events import Step
from controller.core.group import Reason, Role
from controller.core.machine import GroupPolicy
from controller.core.records import Membership, Ownership, Session, SessionId, decode
from controller.core.turn import Turn
from tests.lab.node.lone import TIMING, Lone

Decide = Callable[[Turn, str], None]


class Bug(Exception):  # noqa: N818
    """The error that a decision raises."""


@pytest.fixture
def active() -> Lone:
    node = Lone().start().run(4)
    assert {group.role for group in node.state.groups.values()} == {Role.ACTIVE}
    node.put("sessions/n2-x", peer(2))
    node.failing = True
    return node.run(0.6)


def peer(seq: int) -> Session:
    groups = {"web": Membership(healthy=True), "db": Membership(healthy=True)}
    return Session("n2", seq, groups=groups, seq=seq, writer="other")


def breaks(monkeypatch: pytest.MonkeyPatch, *roles: Role, after: bool = False) -> None:
    """Makes decisions about `web` in these roles raise, before or after they have decided."""

    def broken(decide: Decide) -> Decide:
        def raising(turn: Turn, name: str) -> None:
            if after or name != "web":
                decide(turn, name)
            if name == "web":
                raise Bug("no such\nthing " + "x" * 300)

        return raising

    for each in roles:
        monkeypatch.setitem(machine._ROLES, each, broken(machine._ROLES[each]))


def steps_of(node: Lone, group: str = "web") -> list[Step]:
    return [a.step for a in node.did(ev.Run) if isinstance(a, ev.Run) and a.group == group]


def role(node: Lone, group: str = "web") -> Role:
    return node.state.groups[group].role


def record(node: Lone, group: str = "web") -> Ownership:
    return decode(node.store[f"groups/{group}"].value, Ownership)


@pytest.mark.parametrize("after", [False, True])
def test_a_group_whose_decision_fails_is_shut_and_given_back_and_the_others_serve(
    active: Lone, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    breaks(monkeypatch, Role.ACTIVE, after=after)
    active.actions.clear()
    active.transitions.clear()
    active.tell(ev.Drifted("web", "address"))
    seen = [(t.before, t.after, t.reason) for t in active.transitions]
    assert seen == [(Role.ACTIVE, Role.DEMOTING, Reason.INTERNAL), (Role.DEMOTING, Role.FAULT, Reason.INTERNAL)]
    assert active.transitions[0].detail.startswith("Bug: no such thing xxx")
    assert len(active.transitions[0].detail) == 200
    assert steps_of(active) == [Step.SHUT, Step.DEMOTE], "what the decision had ordered is undone"
    assert active.state.groups["web"].arming.shut
    assert record(active).session == "n2-x"
    assert role(active, "db") is Role.ACTIVE
    assert [(name, type(error)) for name, error in active.failures] == [("web", Bug)]
    active.run(0.2)
    assert not decode(active.store["sessions/n1-a"].value, Session).groups["web"].healthy


def test_it_is_tried_again_after_a_lease_and_not_before(active: Lone, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        breaks(broken, Role.ACTIVE)
        active.tell(ev.Drifted("web", "address"))
    active.put("sessions/n2-x", replace(peer(3), fenced=True))
    active.put("groups/web", replace(record(active), session=None, seq=record(active).seq + 1))
    active.run(TIMING.lease_duration - 0.2)
    assert role(active) is Role.FAULT
    active.run(1.0)
    assert role(active) is Role.ACTIVE
    assert len(active.failures) == 1


def test_it_is_tried_again_after_a_reload(active: Lone, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        breaks(broken, Role.ACTIVE)
        active.tell(ev.Drifted("web", "address"))
    active.policy = replace(active.policy, groups={**active.policy.groups, "web": GroupPolicy(priority=101)})
    active.tell(ev.Tick())
    assert role(active) is Role.STANDBY


def test_a_standby_whose_decision_fails_is_unfit_and_does_not_spin(
    active: Lone, monkeypatch: pytest.MonkeyPatch
) -> None:
    active.tell(ev.Asked("web", "n2"))
    assert role(active) is Role.STANDBY
    breaks(monkeypatch, Role.STANDBY, Role.FAULT)
    active.transitions.clear()
    for beat in range(20):
        active.put("sessions/n2-x", peer(3 + beat))
        active.run(0.5)
    assert [(t.before, t.after, t.reason) for t in active.transitions] == [(Role.STANDBY, Role.FAULT, Reason.INTERNAL)]
    assert len(active.failures) <= 2 * (10 / TIMING.lease_duration + 1), "twice in each lease at most"
    assert role(active, "db") is Role.ACTIVE


def test_a_demotion_that_fails_is_cut_short_once_the_group_is_shut(
    active: Lone, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks(monkeypatch, Role.DEMOTING)
    active.held = (ev.Run,)
    active.tell(ev.Asked("web", "n2"))
    assert role(active) is Role.DEMOTING
    active.tell(ev.Tick())
    orders = [a for a in active.waiting if isinstance(a, ev.Run) and a.step is Step.SHUT]
    assert len(orders) == 1, "ordered once, while it runs"
    active.held = ()
    active.carry_out(orders[0])
    assert role(active) is Role.FAULT
    assert active.state.groups["web"].arming.shut
    active.tell(ev.Tick())
    assert record(active).session == "n2-x"


def test_what_cannot_be_shut_at_once_is_shut_when_its_arming_is_answered(
    active: Lone, monkeypatch: pytest.MonkeyPatch
) -> None:
    active.held = (ev.Arm,)
    active.run(TIMING.retry_period + 0.1)
    (arming,) = active.waiting
    active.actions.clear()
    breaks(monkeypatch, *(each for each in Role if each is not Role.INIT))
    active.tell(ev.Drifted("web", "address"))
    assert Step.SHUT not in steps_of(active)
    active.held = ()
    active.carry_out(arming)
    assert steps_of(active) == [Step.SHUT]
    assert active.state.groups["web"].arming.shut


def test_an_open_group_at_rest_whose_decision_fails_is_shut(monkeypatch: pytest.MonkeyPatch) -> None:
    breaks(monkeypatch, *Role)
    node = Lone(failing=True, fails={ev.Run: "netlink"}).start()
    node.policy = replace(node.policy, groups={**node.policy.groups, "new": GroupPolicy()})
    node.run(1)
    assert node.state.groups["web"].role is Role.FAULT
    state = node.state.groups["web"]
    node.state = node.state.with_group("web", replace(state, arming=replace(state.arming, opened=True)))
    node.run(1)
    assert len(steps_of(node)) > 1, "tried again while it fails"
    node.fails.clear()
    node.run(1)
    assert node.state.groups["web"].arming.shut


def test_an_error_that_is_not_about_a_group_is_the_callers(active: Lone, monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(_: Turn) -> None:
        raise Bug

    monkeypatch.setattr(membership, "go_on", raising)
    before = active.state
    with pytest.raises(Bug):
        active.tell(ev.Tick())
    assert active.state.groups == before.groups


def test_a_troubled_group_does_not_ask_for_what_it_could_preempt(active: Lone, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        breaks(broken, Role.ACTIVE)
        active.tell(ev.Drifted("web", "address"))
    policy = GroupPolicy(priority=200, preempt=True)
    active.policy = replace(active.policy, groups={**active.policy.groups, "web": policy})
    serving = {"web": Membership(priority=100, healthy=True, serving=record(active).epoch)}
    with monkeypatch.context() as broken:
        breaks(broken, Role.STANDBY)
        active.tell(ev.Tick())
    active.put("sessions/n2-x", replace(peer(4), groups=serving))
    active.run(1)
    assert record(active).wanted is None
    assert record(active).session == SessionId("n2-x")
