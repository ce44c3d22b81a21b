"""The daemon outlives an error of the core, which a policy causes here: its rules and durations raise on demand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, get_args

import pytest

from controller.core import events as ev
from controller.core.events import Step
from controller.core.group import Role
from controller.core.machine import Decision, GroupPolicy, Policy
from controller.core.records import SessionId
from controller.core.rules import Rules
from controller.core.timing import Timing
from controller.daemon.advance import Advance, as_failure
from controller.stores.base import Version
from tests.lab.node.lone import TIMING, Lone

LEASE = TIMING.lease_duration


class Bug(Exception):  # noqa: N818
    """The error that the policy raises."""


class Broken(Rules):
    """Raises in each listing, or in each decision about a group that this node owns."""

    where = ""

    def confirmed_at(self, sent_at: float, replied_at: float) -> float:
        self._raise("listing")
        return super().confirmed_at(sent_at, replied_at)

    def grant_ends(self, renewed_at: float, confirmed_at: float, renew_deadline: float) -> float:
        self._raise("group")
        return super().grant_ends(renewed_at, confirmed_at, renew_deadline)

    def _raise(self, where: str) -> None:
        if self.where == where:
            raise Bug(where)


class BrokenTiming(Timing):
    """Raises when one of its durations is needed."""

    breaks = ""

    def __getattribute__(self, name: str) -> Any:
        if name == BrokenTiming.breaks:
            raise Bug(name)
        return super().__getattribute__(name)


@dataclass
class Daemon(Lone):
    """A node that advances as the daemon does, and keeps what it would log."""

    reports: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.failing = True
        self._advance = Advance(lambda group, error, what: self.reports.append((group, f"{what}: {error}")))

    def advance(self, event: ev.Event) -> Decision:
        made = self._advance(self.state, event, self.now, self.policy)
        return made or Decision(self.state, (), None, ())


@pytest.fixture
def rules() -> Broken:
    return Broken()


@pytest.fixture
def daemon(rules: Broken, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    monkeypatch.setattr(BrokenTiming, "breaks", "")
    timing = BrokenTiming(LEASE, TIMING.renew_deadline, TIMING.retry_period)
    policy = Policy("n1", "boot", timing, {"web": GroupPolicy(), "db": GroupPolicy()}, rules)
    node = Daemon(policy=policy)
    node.start().run(4)
    assert roles(node) == {Role.ACTIVE}
    return node


def roles(daemon: Daemon) -> set[Role]:
    return {group.role for group in daemon.state.groups.values()}


def test_a_listing_that_the_core_cannot_act_on_counts_as_not_answered(daemon: Daemon, rules: Broken) -> None:
    rules.where = "listing"
    daemon.run(2 * LEASE)
    assert roles(daemon) == {Role.STANDBY}
    assert {group.arming.shut for group in daemon.state.groups.values()} == {True}
    told = [text for _, text in daemon.reports if text.startswith("the core cannot act on Listed")]
    assert told == ["the core cannot act on Listed: listing"], "once"
    rules.where = ""
    daemon.run(3 * LEASE)
    assert roles(daemon) == {Role.ACTIVE}


def test_an_error_about_groups_is_reported_once_for_each(daemon: Daemon, rules: Broken) -> None:
    rules.where = "group"
    daemon.run(LEASE / 2)
    assert roles(daemon) == {Role.FAULT}
    text = "the core cannot decide about the group, so the group is shut: group"
    assert sorted(daemon.reports) == [("db", text), ("web", text)]
    rules.where = ""
    daemon.run(3 * LEASE)
    assert roles(daemon) == {Role.ACTIVE}
    rules.where = "group"
    daemon.run(LEASE / 2)
    assert len(daemon.reports) == 4, "again, because it had ended"


def test_what_nobody_waits_for_is_left_out_for_a_lease(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BrokenTiming, "breaks", "renew_deadline")
    monkeypatch.setattr(daemon._advance, "_report", lambda *_: None)
    before = daemon.state
    daemon.run(TIMING.retry_period)
    began = daemon.now
    with pytest.raises(Bug):
        daemon.run(2 * LEASE)
    assert LEASE - 2 * TIMING.retry_period < daemon.now - began <= LEASE + 0.1
    assert daemon.state.groups == before.groups


def test_a_short_failure_ends_nothing(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(4):
        with monkeypatch.context() as broken:
            broken.setattr(BrokenTiming, "breaks", "renew_deadline")
            daemon.run(LEASE / 2)
        daemon.run(LEASE / 2)
    daemon.run(3 * LEASE)
    assert roles(daemon) == {Role.ACTIVE}


@pytest.mark.parametrize("event", [ev.Minted(SessionId("n1-b")), ev.Failed(10**6, "late")])
def test_what_must_be_told_and_cannot_be_ends_the_daemon(
    daemon: Daemon, event: ev.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "state", daemon.state)
    if isinstance(event, ev.Failed):
        daemon.held = (ev.Read,)
        daemon.tell(ev.Hint())
        (read,) = daemon.waiting
        assert isinstance(read, ev.Read)
        event = ev.Failed(read.request, "late")
    monkeypatch.setattr(BrokenTiming, "breaks", "retry_period")
    with pytest.raises(Bug):
        daemon.tell(event)


EVENTS: dict[type, ev.Event] = {
    ev.Started: ev.Started(SessionId("a"), "w"),
    ev.Minted: ev.Minted(SessionId("a")),
    ev.Cleared: ev.Cleared(),
    ev.TimerStarted: ev.TimerStarted(0, 1.0),
    ev.Armed: ev.Armed(0, frozenset({"web"})),
    ev.Listed: ev.Listed(7, 1.0, {}),
    ev.Failed: ev.Failed(7, "late"),
    ev.Wrote: ev.Wrote(7, 1.0, Version("1")),
    ev.Refused: ev.Refused(7),
    ev.Unsure: ev.Unsure(7, "late"),
    ev.Ran: ev.Ran("web", 3, Step.SHUT, None, 0.5),
}
FAILURES = {
    ev.Cleared: ev.Cleared, ev.TimerStarted: ev.TimerStarted, ev.Armed: ev.Armed, ev.Listed: ev.Failed,
    ev.Wrote: ev.Unsure, ev.Refused: ev.Unsure, ev.Ran: ev.Ran,
}  # fmt: skip


@pytest.mark.parametrize("kind", get_args(ev.Event), ids=lambda kind: kind.__name__)
def test_every_answer_has_a_failure_that_answers_the_same(kind: type) -> None:
    if kind not in EVENTS:
        assert as_failure(object.__new__(kind)) is None
        return
    event, failure = EVENTS[kind], as_failure(EVENTS[kind])
    if kind not in FAILURES:
        assert failure is None
        return
    assert type(failure) is FAILURES[kind]
    assert getattr(failure, "error", None)
    for name in ("request", "slot", "at", "group", "epoch", "step"):
        assert getattr(failure, name, None) == getattr(event, name, None)
