"""What a node tells of itself, and which switchovers it refuses, from a core that lived through it."""

from __future__ import annotations

import pytest

from controller.api.server import Code, RequestRefused
from controller.config.loading import from_bytes
from controller.core import events as ev
from controller.core.records import (
    CLUSTER,
    GROUPS,
    SESSIONS,
    Cluster,
    Membership,
    Ownership,
    Session,
    SessionId,
    Wanted,
)
from controller.daemon.control import Control
from controller.daemon.node import Node
from controller.telemetry.history import History
from controller.telemetry.telemetry import Op, RequestOutcome, Telemetry
from tests.lab.node.lone import Lone

CONFIG = from_bytes(
    b"""\
cluster: shop
node: n1
store: {type: etcd, endpoints: ["http://127.0.0.1:2379"]}
groups:
  web: {vips: [10.77.0.100/24]}
  db: {vips: [10.77.0.101/24]}
""",
    "anyvip.yml",
)
OTHER = SessionId("n2-a")


class Desk:
    """Control over a node whose core is somebody else's."""

    def __init__(self, core: Lone) -> None:
        self.core = core
        self.telemetry = Telemetry("n1", History(), now=lambda: core.now)
        self.node = Node(core.policy, lambda: core.now, self.telemetry, lambda _: None)
        self.control = Control(self.node, lambda: CONFIG, lambda: core.now, self.telemetry)

    def look(self) -> Control:
        self.node.state = self.core.state
        return self.control

    def waits_for(self) -> str:
        return self.look().status()["groups"]["web"]["waits_for"]


@pytest.fixture
def standby() -> Desk:
    """n2 owns web, and both groups are fit here."""
    core = Lone()
    core.put(f"{SESSIONS}{OTHER}", Session("n2", groups={"web": Membership(priority=100, healthy=True)}))
    core.put(f"{GROUPS}web", Ownership(session=OTHER, node="n2", epoch=7, seq=7, writer="theirs"))
    return Desk(core.start().run(1.0))


def test_nobody_waits_for_an_owner_who_renews(standby: Desk) -> None:
    standby.core.run(1.0)
    assert standby.look().status()["groups"]["web"]["role"] == "standby"
    assert standby.waits_for() == ""


def test_an_owner_who_is_silent_is_waited_for(standby: Desk) -> None:
    standby.core.held = (ev.Write,)  # or it would be taken over
    standby.core.run(standby.core.policy.timing.lease_duration)
    assert standby.waits_for() == "owner-silent"


def test_a_record_that_cannot_be_read_is_waited_for_with_its_problem(standby: Desk) -> None:
    standby.core.put("groups/web", b'{"format":1,"kind":"group","epoch":' + b"9" * 5000 + b"}")
    standby.core.run(1)
    assert standby.waits_for() == (
        "bad-record: epoch: an integer of 5000 digits, allowed: -9223372036854775808 to 9223372036854775807"
    )


def test_who_is_not_fit_waits_for_nobody(standby: Desk) -> None:
    standby.core.run(standby.core.policy.timing.lease_duration - 1.0)
    standby.core.tell(ev.Judged("web", healthy=False, why="app: connection refused"))
    view = standby.look().status()["groups"]["web"]
    assert (view["role"], view["waits_for"]) == ("fault", "")


async def refused(desk: Desk, to: str | None = None) -> tuple[Code, str]:
    with pytest.raises(RequestRefused) as refusal:
        await desk.look().switchover("web", to, 30.0)
    return refusal.value.code, str(refusal.value)


async def test_without_a_store_nothing_can_move(standby: Desk) -> None:
    standby.telemetry.requested(Op.READ, RequestOutcome.FAILED, 0.1, "no answer in time")
    assert await refused(standby) == (Code.STORE, "the etcd store does not answer: nothing can move")


async def test_there_must_be_somebody_to_hand_over_to(standby: Desk) -> None:
    standby.core.put(f"{GROUPS}web", Ownership(session=standby.core.state.session.id, node="n1", epoch=8, seq=8))
    standby.core.run(1.0)
    assert await refused(standby, "n3") == (Code.UNKNOWN_NODE, "no node 'n3'; there is n2 to hand over to")
    del standby.core.store[f"{SESSIONS}{OTHER}"]
    standby.core.run(1.0)
    assert await refused(standby) == (Code.UNKNOWN_NODE, "there is no other node to hand over to")


def test_a_pause_is_shown_with_who_why_and_how_long(standby: Desk) -> None:
    assert standby.look().status()["pause"] is None
    record = Cluster(True, "w-1", 7200.0, "root", "n2", "kernel upgrade", 1_767_225_600, seq=1)
    standby.core.put(CLUSTER, record)
    standby.core.run(1.0)
    shown = standby.look().status()["pause"]
    assert shown is not None
    assert (shown["by"], shown["node"], shown["why"]) == ("root", "n2", "kernel upgrade")
    assert shown["at"] == "2026-01-01T00:00:00.000Z"
    assert shown["seconds"] > 0
    assert shown["seconds_left"] == pytest.approx(7200.0 - shown["seconds"])


@pytest.mark.parametrize("at", [0, -1, 2**62])
def test_what_no_clock_shows_and_no_terminal_should_is_shown_harmlessly(standby: Desk, at: int) -> None:
    standby.core.put(CLUSTER, Cluster(True, "w-1", 0.0, "root", "n2", "\x1b[2J", at, seq=1))
    standby.core.run(1.0)
    shown = standby.look().status()["pause"]
    assert shown is not None
    assert (shown["why"], shown["at"], shown["seconds_left"]) == (repr("\x1b[2J"), "", None)


@pytest.mark.parametrize(("wanted", "shown"), [(Wanted("n1", 7), "n1"), (Wanted(None, 7), ""), (Wanted("n1", 6), None)])
def test_a_switchover_that_was_asked_for_is_shown(standby: Desk, wanted: Wanted, shown: str | None) -> None:
    assert standby.look().status()["groups"]["web"]["wanted"] is None
    record = Ownership(session=OTHER, node="n2", epoch=7, wanted=wanted, seq=8, writer="theirs")
    standby.core.put(f"{GROUPS}web", record)
    standby.core.run(1.0)
    assert standby.look().status()["groups"]["web"]["wanted"] == shown


def test_a_step_that_failed_is_shown_with_its_reason(standby: Desk) -> None:
    assert standby.look().status()["groups"]["web"]["failed"] is None
    standby.core.fails[ev.Run] = "start-app: exit status 1: no licence"
    standby.core.put(f"{GROUPS}web", Ownership(None, None, 7, offered_to=standby.core.state.session.id, seq=9))
    standby.core.run(1.0)
    failed = standby.look().status()["groups"]["web"]["failed"]
    assert failed is not None
    assert (failed["step"], failed["error"]) == ("bind", "start-app: exit status 1: no licence")
    assert failed["seconds"] > 0
