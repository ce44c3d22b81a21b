"""Decisions and steps as log lines, metrics and history."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from controller.core.events import Drifted, Judged, Ran, Step
from controller.core.group import Reason, Role, Transition
from controller.core.records import Change, Cluster, Ending, Ownership, Session, SessionId
from controller.stores.base import Credential
from controller.telemetry.history import History
from controller.telemetry.logs import JsonLines, TextLines, emit
from controller.telemetry.metrics import ROLES
from controller.telemetry.telemetry import Op, RequestOutcome, Telemetry
from tests.lab.node.lone import Lone

BOOT, UNIX = 5000.0, 1_767_225_600.0  # one moment on both clocks: 2026-01-01T00:00:00Z


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = BOOT

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def telemetry(clock: Clock) -> Telemetry:
    one = Telemetry("n1", History(), now=clock, wall=lambda: UNIX + clock.now - BOOT)
    one.watch(["web", "db"])
    return one


def change(  # noqa: PLR0917  (in the order of the log line)
    at: float, before: Role, after: Role, reason: Reason, detail: str = "", epoch: int = 0
) -> Transition:
    return Transition("web", at, before, after, reason, detail, epoch)


def samples(telemetry: Telemetry) -> dict[tuple[str, ...], float]:
    """Returns each sample by its name and the values of its labels, in the order of the labels."""
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(telemetry.render({}).decode())
        for sample in family.samples
    }


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines of the log, without the time."""
    return [TextLines().format(record).partition(" ")[2] for record in caplog.records]


# --- transitions -------------------------------------------------------------------------------------------------


def test_a_promotion_is_one_line_one_count_and_one_entry_for_each_transition(
    telemetry: Telemetry, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anyvip")
    telemetry.transitioned([change(BOOT - 75, Role.INIT, Role.STANDBY, Reason.HEALTHY)])
    telemetry.transitioned([change(BOOT, Role.STANDBY, Role.PROMOTING, Reason.OFFERED, "by n2", 7)])
    for step, seconds in ((Step.BIND, 0.003), (Step.PROMOTE, 1.25), (Step.REFRESH, 0.1)):
        telemetry.ran(Ran("web", 7, step, None, seconds))
    clock.now += 1.5
    telemetry.transitioned([change(clock.now, Role.PROMOTING, Role.ACTIVE, Reason.READY, epoch=7)])

    assert lines(caplog) == [
        "level=info logger=anyvip msg=transition group=web from=init to=standby reason=healthy",
        (
            "level=info logger=anyvip msg=transition group=web from=standby to=promoting reason=offered epoch=7 "
            'detail="by n2" after_seconds=75'
        ),
        (
            "level=info logger=anyvip msg=transition group=web from=promoting to=active reason=promotion-done epoch=7 "
            "after_seconds=1.5 bind_seconds=0.003 promote_seconds=1.25"
        ),
    ]
    first, second, third = telemetry.history.entries("web")
    assert (first["seconds"], second["seconds"], third["seconds"]) == (None, 75.0, 1.5)
    assert first["time"] == "2025-12-31T23:58:45.000Z"
    assert second == {
        "time": "2026-01-01T00:00:00.000Z",
        "node": "n1",
        "group": "web",
        "before": "standby",
        "after": "promoting",
        "reason": "offered",
        "detail": "by n2",
        "epoch": 7,
        "seconds": 75.0,
        "stages": {},
    }
    assert third["stages"] == {"bind": 0.003, "promote": 1.25}

    found = samples(telemetry)
    assert found["anyvip_transitions_total", "web", "offered", "promoting"] == 1
    assert found["anyvip_epoch", "web"] == 7
    assert (found["anyvip_active", "web"], found["anyvip_active", "db"]) == (1, 0)
    assert {role for role in ROLES if found["anyvip_role", "web", role]} == {"active"}


def test_a_fault_is_a_warning(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    telemetry.transitioned([change(BOOT, Role.STANDBY, Role.FAULT, Reason.UNHEALTHY, "check app: refused")])
    assert lines(caplog) == [
        (
            "level=warning logger=anyvip msg=transition group=web from=standby to=fault reason=unhealthy "
            'detail="check app: refused"'
        ),
    ]


@pytest.mark.parametrize("reason", [Reason.EXPIRED, Reason.TAKEN, Reason.SESSION_OVER, Reason.UNHEALTHY])
def test_the_loss_of_a_group_is_a_warning(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture, reason: Reason
) -> None:
    caplog.set_level(logging.INFO)
    telemetry.transitioned([change(BOOT, Role.ACTIVE, Role.DEMOTING, reason)])
    telemetry.transitioned([change(BOOT, Role.ACTIVE, Role.DEMOTING, Reason.SWITCHOVER)])
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.INFO]


def test_the_log_and_the_history_agree_on_the_time(
    telemetry: Telemetry, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    at = clock.now
    clock.now += 3  # the line is written late
    telemetry.transitioned([change(at, Role.STANDBY, Role.PROMOTING, Reason.FREE)])
    (line,) = [json.loads(JsonLines().format(record)) for record in caplog.records]
    assert line["time"] == telemetry.history.entries()[0]["time"] == "2026-01-01T00:00:00.000Z"


def test_an_event_of_the_cluster_is_a_line(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    core = Lone()
    ended = Ending("n3", "silent", UNIX, UNIX - 3)
    core.put("sessions/n2-a", Session("n2", 1, seq=1, fenced=True, ended=ended))
    core.put("groups/web", Ownership(SessionId("n3-a"), "n3", 7, seq=7, change=Change("n2", "owner-fenced")))
    core.start().run(1)
    telemetry.noticed(core.state)
    telemetry.noticed(core.state)
    assert lines(caplog) == [
        (
            'level=info logger=anyvip msg="member left" was=n2 why=silent since=2025-12-31T23:59:57.000Z told_by=n3 '
            "shut=2026-01-01T00:00:00.000Z"
        ),
        "level=info logger=anyvip msg=owner group=web epoch=7 owner=n3 was=n2 why=owner-fenced",
    ]


def test_a_time_without_the_store_is_an_event(telemetry: Telemetry, clock: Clock) -> None:
    telemetry.requested(Op.READ, RequestOutcome.OK, 0.1)
    clock.now += 5
    telemetry.requested(Op.READ, RequestOutcome.FAILED, 1.0, "refused")
    assert telemetry.cut_off_since == UNIX
    clock.now += 5
    telemetry.requested(Op.READ, RequestOutcome.OK, 0.1)
    assert telemetry.cut_off_since is None
    (event,) = telemetry.chronicle.entries()
    assert (event["since"], event["served"]) == ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:10.000Z")


def test_the_roles_that_are_measured_are_all_roles() -> None:
    assert set(ROLES) == {role.value for role in Role}


# --- everything else ---------------------------------------------------------------------------------------------


def test_steps(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "anyvip")
    telemetry.ran(Ran("web", 7, Step.BIND, None, 0.25))
    telemetry.ran(Ran("web", 7, Step.BIND, "eth0 is down", 0.5))
    telemetry.ran(Ran("web", 7, Step.REFRESH, None, 0.5))
    telemetry.ran(Ran("web", 7, Step.REFRESH, "eth0 is down", 0.5))
    assert lines(caplog) == [
        'level=debug logger=anyvip msg="step done" group=web step=bind epoch=7 seconds=0.25',
        'level=warning logger=anyvip msg="step failed" group=web step=bind epoch=7 error="eth0 is down" seconds=0.5',
        'level=warning logger=anyvip msg="step failed" group=web step=refresh epoch=7 error="eth0 is down" seconds=0.5',
    ]
    found = samples(telemetry)
    assert found["anyvip_step_seconds_count", "web", "bind"] == 2
    assert found["anyvip_step_seconds_sum", "web", "bind"] == 0.75
    assert found["anyvip_step_seconds_count", "web", "refresh"] == 2
    assert found["anyvip_step_failures_total", "web", "bind"] == 1
    assert found["anyvip_step_failures_total", "web", "refresh"] == 1


def test_health_drift_and_pause(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyvip")
    telemetry.judged(Judged("web", healthy=True))
    telemetry.judged(Judged("db", healthy=False, why="check app: refused"))
    telemetry.drifted(Drifted("web", "10.77.0.100/24 was removed"))
    telemetry.paused(Cluster(True, "w-1", 7200.0, "root", "n2", "kernel upgrade"))
    assert lines(caplog) == [
        "level=info logger=anyvip msg=healthy group=web",
        'level=warning logger=anyvip msg=unhealthy group=db why="check app: refused"',
        'level=warning logger=anyvip msg=drift group=web what="10.77.0.100/24 was removed"',
        'level=warning logger=anyvip msg=paused by=root node=n2 seconds=7200 why="kernel upgrade"',
    ]
    found = samples(telemetry)
    assert (found["anyvip_healthy", "web"], found["anyvip_healthy", "db"]) == (1, 0)
    assert (found["anyvip_drift_total", "web"], found["anyvip_drift_total", "db"]) == (1, 0)
    assert found["anyvip_paused",] == 1
    telemetry.paused(None)
    assert samples(telemetry)["anyvip_paused",] == 0


@pytest.mark.parametrize(("ends", "left"), [(None, "+Inf"), (BOOT + 50.0, "50.0"), (BOOT - 1.0, "0.0")])
def test_how_long_a_pause_has_lasted_and_will_last(telemetry: Telemetry, ends: float | None, left: str) -> None:
    text = telemetry.render({}, (BOOT - 40.0, ends)).decode()
    assert "\nanyvip_paused_seconds 40.0\n" in text
    assert f"\nanyvip_pause_seconds_left {left}\n" in text
    text = telemetry.render({}).decode()
    assert "\nanyvip_paused_seconds 0.0\n" in text
    assert "\nanyvip_pause_seconds_left 0.0\n" in text


def test_a_credential_that_ends_soon_is_logged_once(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyvip")
    old, fresh = Credential("ca.pem", 0.0, UNIX + 3600.0), Credential("token", UNIX, UNIX + 3600.0)
    for found in ([old, fresh], [old, fresh], [fresh], [old]):
        telemetry.credentials(found)
    assert [line.partition(" ends=")[0] for line in lines(caplog)] == [
        'level=warning logger=anyvip msg="credential ends soon" credential=ca.pem'
    ] * 2
    ends = {key[1] for key in samples(telemetry) if key[0] == "anyvip_store_credential_end_timestamp_seconds"}
    assert ends == {"ca.pem"}


def test_a_store_that_is_away_is_logged_when_it_goes_and_when_it_comes(
    telemetry: Telemetry, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anyvip")
    telemetry.requested(Op.READ, RequestOutcome.OK, 0.002)
    for _ in range(3):
        telemetry.requested(Op.WRITE, RequestOutcome.UNSURE, 0.5, "10.77.0.9:2379: timed out")
    telemetry.requested(Op.READ, RequestOutcome.FAILED, 0.5, "10.77.0.9:2379: timed out")
    assert samples(telemetry)["anyvip_store_reachable",] == 0
    telemetry.requested(Op.WRITE, RequestOutcome.REFUSED, 0.003)
    assert telemetry.contact.error == "reads: 10.77.0.9:2379: timed out"
    assert samples(telemetry)["anyvip_store_reachable",] == 0
    telemetry.requested(Op.READ, RequestOutcome.OK, 0.003)
    assert lines(caplog) == [
        'level=warning logger=anyvip msg="store does not answer" op=write error="10.77.0.9:2379: timed out"',
        'level=warning logger=anyvip msg="store does not answer" op=read error="10.77.0.9:2379: timed out"',
        'level=info logger=anyvip msg="store answers again" op=write',
        'level=info logger=anyvip msg="store answers again" op=read',
    ]
    found = samples(telemetry)
    assert found["anyvip_store_requests_total", "write", "unsure"] == 3
    assert found["anyvip_store_requests_total", "write", "refused"] == 1
    assert found["anyvip_store_writes_total",] == 4
    assert found["anyvip_store_reachable",] == 1
    assert found["anyvip_store_seconds_count", "read"] == 3


def test_writes_that_fail_while_reads_are_answered_are_one_line(
    telemetry: Telemetry, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anyvip")
    telemetry.requested(Op.READ, RequestOutcome.OK, 0.002)
    since = telemetry.contact.at
    for _ in range(100):
        clock.now += 1
        telemetry.requested(Op.WRITE, RequestOutcome.UNSURE, 0.5, "no space")
        telemetry.requested(Op.READ, RequestOutcome.OK, 0.002)
    assert lines(caplog) == ['level=warning logger=anyvip msg="store does not answer" op=write error="no space"']
    assert (telemetry.contact.reachable, telemetry.contact.error) == (False, "writes: no space")
    assert since is not None
    assert telemetry.cut_off_since == UNIX


def test_what_is_left_of_a_grant_is_read_when_it_is_asked(telemetry: Telemetry) -> None:
    text = telemetry.render({"web": BOOT + 1.25, "db": BOOT - 1}).decode()
    assert 'anyvip_grant_seconds_left{group="web"} 1.25\n' in text
    assert 'anyvip_grant_seconds_left{group="db"} 0.0\n' in text
    assert 'anyvip_grant_seconds_left{group="web"} 0.0\n' in telemetry.render({"web": None}).decode()


def test_a_group_that_is_removed_takes_its_series_with_it(telemetry: Telemetry) -> None:
    telemetry.transitioned([change(BOOT, Role.INIT, Role.STANDBY, Reason.HEALTHY)])
    telemetry.ran(Ran("web", 7, Step.BIND, "no", 0.1))
    telemetry.watch(["db"])
    telemetry.ran(Ran("web", 7, Step.SHUT, None, 0.1))
    telemetry.transitioned([change(BOOT, Role.DEMOTING, Role.STANDBY, Reason.REMOVED)])
    text = telemetry.render({"db": BOOT + 1}).decode()
    assert 'group="web"' not in text
    assert 'anyvip_active{group="db"} 0.0\n' in text


def test_groups_have_their_series_before_anything_happens(telemetry: Telemetry) -> None:
    found = samples(telemetry)
    for group in ("web", "db"):
        assert found["anyvip_active", group] == 0
        assert found["anyvip_role", group, "init"] == 1
        assert found["anyvip_drift_total", group] == 0


def test_two_daemons_in_one_process_do_not_share_metrics(telemetry: Telemetry) -> None:
    other = Telemetry("n2", History(), now=lambda: BOOT)
    other.watch(["web"])
    telemetry.requested(Op.WRITE, RequestOutcome.OK, 0.1)
    assert samples(other)["anyvip_store_writes_total",] == 0


# --- the log's forms ---------------------------------------------------------------------------------------------


def record(msg: str, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("anyvip", logging.INFO, __file__, 1, msg, (), None)
    made.created = UNIX + 0.25
    made.fields = fields
    return made


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("n1", "n1"),
        ("", '""'),
        ("two words", '"two words"'),
        ('a"b', r'"a\"b"'),
        ("a=b", '"a=b"'),
        ("a\nb\x1b[31m", r'"a\nb\u001b[31m"'),
        (0.1 + 0.2, "0.3"),
        (7, "7"),
        (True, "True"),
    ],
)
def test_a_line_of_pairs(value: object, text: str) -> None:
    line = TextLines().format(record("it happened", value=value))
    assert line == f'time=2026-01-01T00:00:00.250Z level=info logger=anyvip msg="it happened" value={text}'


def test_a_line_of_json() -> None:
    parsed = json.loads(JsonLines().format(record("it\nhappened", group="web", seconds=0.5)))
    assert parsed == {
        "time": "2026-01-01T00:00:00.250Z",
        "level": "info",
        "logger": "anyvip",
        "msg": "it\nhappened",
        "group": "web",
        "seconds": 0.5,
    }


def test_a_traceback_stays_on_its_line() -> None:
    made = record("failed")
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        made.exc_info = sys.exc_info()
    for form in (TextLines(), JsonLines()):
        line = form.format(made)
        assert "ZeroDivisionError" in line
        assert len(line.splitlines()) == 1


def test_a_level_that_is_not_asked_for_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "anyvip")
    emit(logging.getLogger("anyvip"), logging.INFO, "nothing", group="web")
    assert caplog.records == []


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_log_goes_to_stderr_and_survives_its_loss(form: str) -> None:
    script = (
        "import logging, os, sys; from controller.telemetry.logs import configure, emit\n"
        "configure(sys.argv[1], 'warning')\n"
        "log = logging.getLogger('anyvip')\n"
        "emit(log, logging.INFO, 'not this'); emit(log, logging.WARNING, 'this', group='web')\n"
        "os.close(2)\n"
        "emit(log, logging.WARNING, 'lost'); print('went on')\n"
    )
    ran = subprocess.run([sys.executable, "-c", script, form], capture_output=True, text=True, timeout=30, check=True)
    assert ran.stdout == "went on\n"
    (line,) = ran.stderr.splitlines()
    assert ("msg=this group=web" if form == "text" else '"msg": "this", "group": "web"') in line


def test_who_else_claims_an_address_is_logged_once_and_shown(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anyvip")
    for said in ("n2 has 10.77.0.100 in group www",) * 2 + ("",) * 2:
        telemetry.claimed({"web": said, "db": ""})
        assert f'anyvip_address_conflict{{group="web"}} {1.0 if said else 0.0}' in telemetry.render({}).decode()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_what_differs_is_logged_once_per_change_and_counted(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anyvip")
    for nodes in ({"n2": ("has no group db",)}, {"n2": ("has no group db",)}, {"n2": ("has no group web",)}, {}):
        telemetry.differing(nodes)
        assert f"anyvip_configuration_differs {float(len(nodes))}" in telemetry.render({}).decode()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO"]


def test_a_record_that_cannot_be_read_is_told_once_until_it_can_be(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "anyvip")
    for problem in ("not JSON: b'1'", "not JSON: b'2'"):
        telemetry.unreadable({"groups/web": problem, "a\x1b": "not a key"})
    assert samples(telemetry)["anyvip_unreadable_records",] == 2
    telemetry.unreadable({"a\x1b": "not a key"})
    assert lines(caplog) == [
        'level=warning logger=anyvip msg="record cannot be read" key="a\\u001b" problem="not a key"',
        'level=warning logger=anyvip msg="record cannot be read" key=groups/web problem="not JSON: b\'1\'"',
        'level=info logger=anyvip msg="record is readable again, or gone" key=groups/web',
    ]


def test_of_many_records_that_cannot_be_read_a_few_are_told(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    for first in range(3):
        telemetry.unreadable({f"groups/{number}": "garbage" for number in range(first * 100, first * 100 + 100)})
    assert len([line for line in lines(caplog) if "cannot be read" in line]) == 60
    assert samples(telemetry)["anyvip_unreadable_records",] == 100
