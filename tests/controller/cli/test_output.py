"""How the tables show values."""

from __future__ import annotations

from typing import Any

import pytest

from controller.api.status import PauseView
from controller.cli.output import duration, history_text, status_text, table
from tests.lab.node.desk import entry, group_view, member, status


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"),
        (0.0004, "0 ms"),
        (0.0123, "12 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (1.93, "1.9 s"),
        (99.94, "99.9 s"),
        (99.96, "1m39s"),
        (3599.9, "59m59s"),
        (3600, "1h00m"),
        (86399, "23h59m"),
        (86400, "1d00h"),
        (1e6, "11d13h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_columns_line_up_and_lines_end_where_they_end() -> None:
    assert table(("A", "LONG", "C"), [("long", "b", ""), ("a", "b", "c")]) == "A     LONG  C\nlong  b\na     b     c"


def test_a_group_that_nobody_serves() -> None:
    view = group_view(role="init", active=None, epoch=0, healthy=None, grant_seconds_left=None, role_seconds=0.5)
    line = status_text(status(groups={"web": view})).splitlines()[3]
    assert line.split("  ")[0] == "web"
    assert line.split()[1:5] == ["init", "nobody", "-", "500"]
    assert "not known yet" in line


def test_a_grant_that_has_ended_is_not_negative() -> None:
    assert " 0 ms " in status_text(status(groups={"web": group_view(grant_seconds_left=-0.2)}))


def test_many_vips_are_counted() -> None:
    few = status_text(status(groups={"web": group_view(vips=["10.0.0.1/24", "10.0.0.2/24"])}))
    assert "10.0.0.1/24 10.0.0.2/24\n" in few
    many = status_text(status(groups={"web": group_view(vips=[f"10.0.0.{n}/24" for n in range(1, 101)])}))
    assert "10.0.0.1/24 10.0.0.2/24 and 98 more\n" in many


def test_members_that_are_not_well() -> None:
    unfit = {"web": {"priority": 50, "healthy": False, "serving": 0}}
    members = [
        member("n1"),
        member("n2", live=False),
        member("n3", live=None, groups=unfit),
        member("n4", groups={}),
        member("n5", campaigning=False),
    ]
    lines = status_text(status(members=members)).splitlines()
    shown = {line.split()[0]: " ".join(line.split()[1:]) for line in lines[lines.index("") :] if line.startswith("n")}
    assert shown == {
        "n1": "(here) live 0.1.0 same healthy, priority 100, serves",
        "n2": "silent for 200 ms 0.1.0 same healthy, priority 100",
        "n3": "not known 0.1.0 same unhealthy, priority 50",
        "n4": "live 0.1.0 same -",
        "n5": "name taken 0.1.0 same healthy, priority 100",
    }


def test_a_member_that_is_configured_otherwise() -> None:
    differs = ["web: vips 10.77.0.101/24, here 10.77.0.100/24"]
    text = status_text(status(members=[member("n1"), member("n2", differs=differs, version="")]))
    assert "n2         live   -        differs  healthy" in text
    assert text.endswith("\nn2: web: vips 10.77.0.101/24, here 10.77.0.100/24")


def test_a_group_that_waits_says_for_whom() -> None:
    view = group_view(waits_for="n2 has 10.77.0.100 in group web")
    assert "\nweb: waits: n2 has 10.77.0.100 in group web" in status_text(status(groups={"web": view}))


def test_a_store_that_has_never_answered() -> None:
    never = {"type": "etcd", "reachable": False, "contact_seconds": None, "cut_off_since": None, "error": ""}
    assert status_text(status(store=never, members=[])).endswith("\n\nstore: never answered")


def test_an_empty_history_is_its_heading() -> None:
    assert history_text([]) == "TIME  GROUP  ROLE  REASON  EPOCH  AFTER  STAGES  DETAIL"
    assert len(history_text([entry("web"), entry("db")]).splitlines()) == 3


def test_a_step_that_failed_is_shown_once_with_its_reason() -> None:
    error = "start-app: exit status 1: no licence"
    view = group_view(failed={"step": "prepare", "error": error, "seconds": 12.0}, error=error)
    assert status_text(status(groups={"web": view})).endswith(f"\nweb: prepare failed 12.0 s ago: {error}")


@pytest.mark.parametrize(
    ("pause", "text"),
    [
        (None, "paused: nothing moves until `anyvip resume`"),
        ({}, "paused by root on n1 1h00m ago (kernel upgrade): nothing moves until `anyvip resume`"),
        (
            {"seconds_left": 1800.0},
            "paused by root on n1 1h00m ago (kernel upgrade): nothing moves for another 30m00s, or until `anyvip resume`",
        ),
        ({"by": "", "why": ""}, "paused 1h00m ago: nothing moves until `anyvip resume`"),
    ],
)
def test_a_pause_says_who_and_why_and_for_how_long(pause: dict[str, Any] | None, text: str) -> None:
    base = PauseView(
        by="root", node="n1", why="kernel upgrade", at="2026-01-01T00:00:00.000Z", seconds=3600.0, seconds_left=None
    )
    shown = None if pause is None else {**base, **pause}
    assert status_text(status(paused=True, pause=shown)).endswith(f"\n{text}")


@pytest.mark.parametrize(("wanted", "who"), [("n2", "n2"), ("", "another node")])
def test_a_switchover_that_was_asked_for_is_shown(wanted: str, who: str) -> None:
    text = status_text(status(groups={"web": group_view(wanted=wanted)}))
    assert text.endswith(f"\nweb: an operator has asked for a switchover to {who}")
