"""The command as a process: what it prints, where, and its exit code."""

# ruff: noqa: ASYNC240  (the files are small, and nothing else waits for the loop)

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from controller.api.server import Code, RequestRefused
from controller.api.status import NodeStatus
from controller.cli.main import _duration, main
from controller.core.election import Sighting
from controller.core.records import Change, Ownership, SessionId
from controller.telemetry.chronicle import Chronicle
from tests.lab.host.processes import until
from tests.lab.node.desk import Desk, entry, group_view, serving, status

ROOT = Path(__file__).parents[3]
ANYVIP = (sys.executable, "-P", "-c", "import sys; from controller.cli.main import main; sys.exit(main())")
LIMIT_SECONDS = 60

CONFIG = """\
cluster: shop
node: n1
state_dir: {state_dir}
store: {{type: file, path: {state_dir}/store}}
groups:
  web:
    vips: [10.77.0.100/24]
    providers: [{{type: baremetal, interface: lo}}]
"""


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "anyvip.yml"
    file.write_text(CONFIG.format(state_dir=tmp_path))
    return file


def environment(**more: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "ANYVIP_CONFIG"}
    return {**inherited, "PYTHONPATH": str(ROOT), **more}


@asynccontextmanager
async def started(*arguments: str, **more: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *ANYVIP,
        *arguments,
        env=environment(**more),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def anyvip(*arguments: str, **more: str) -> Ran:
    async with started(*arguments, **more) as process:
        out, err = await asyncio.wait_for(process.communicate(), LIMIT_SECONDS)
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())


async def line_from(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), LIMIT_SECONDS)).decode().rstrip("\n")


# --- usage and help ----------------------------------------------------------------------------------------------


async def test_version() -> None:
    assert await anyvip("--version") == Ran(0, f"anyvip {version('anyvip')}\n", "")


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    """Runs the command in this process. For commands that argparse answers alone."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    out, err = capsys.readouterr()
    return Ran(int(left.value.code or 0), out, err)


@pytest.mark.parametrize("arguments", [(), ("no-such-command",), ("status", "--jsn"), ("switchover",)])
def test_wrong_usage(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    ran = called(capsys, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("usage: anyvip")


@pytest.mark.parametrize("seconds", ["0", "-1", "601", "soon", "nan"])
def test_a_time_limit_that_cannot_be(capsys: pytest.CaptureFixture[str], seconds: str) -> None:
    ran = called(capsys, "switchover", "web", "--timeout", seconds)
    assert ran.code == 2
    assert ran.err.endswith(f"argument --timeout: found {seconds!r}; allowed: seconds above 0, at most 600\n")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("run", ("--log-format", "default: text", "--log-level", "default: info", "SIGTERM", "SIGHUP")),
        ("check-config", ("--schema", "--no-host-checks", "$ANYVIP_CONFIG")),
        ("status", ("--json", "--watch", "every second")),
        ("switchover", ("--to NODE", "--timeout SECONDS", "in seconds", "default: 30")),
        ("pause", ("not replaced until the pause ends", "--for DURATION", "1h30m", "--reason TEXT")),
        ("resume", ("End the pause",)),
        ("history", ("--json", "--group", "1,000 transitions")),
    ],
)
def test_help_is_the_documentation(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, told: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    ran = called(capsys, command, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert [text for text in told if text not in ran.out] == []


def test_every_command_is_in_the_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    ran = called(capsys, "--help")
    listed = {line.split()[0] for line in ran.out.splitlines() if line.startswith("    ")}
    assert {"run", "check-config", "status", "switchover", "pause", "resume", "history", "demo"} <= listed
    assert "exit codes: 0 done, 1 failed, 2 mistake in usage or configuration" in ran.out


# --- check-config, and where the file is ----------------------------------------------------------------------------


async def test_a_configuration_that_is_right(config: Path) -> None:
    ran = await anyvip("check-config", "--config", str(config))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        f"{config}: ok: node n1 of cluster shop, groups 1, VIPs 1, "
        "lease 3 s (serves 2.1 s after it has sent a renewal, sends one every 0.525 s)\n"
    )


async def test_each_mistake_is_one_line_on_stderr(config: Path) -> None:
    text = config.read_text().replace("10.77.0.100/24", "10.77.0.300/24").replace("cluster:", "clstr:")
    config.write_text(text)
    for command in ("check-config", "run"):
        ran = await anyvip(command, "--config", str(config))
        assert (ran.code, ran.out) == (2, "")
        missing, unknown, vip = ran.err.splitlines()
        assert missing.startswith(f"{config}:1: cluster: found nothing; allowed: ")
        assert unknown.startswith(f'{config}:1: clstr: found unknown key "clstr"; allowed: ')
        assert vip.startswith(f'{config}:7: groups.web.vips[0]: found "10.77.0.300/24"; allowed: an IPv4 or IPv6 addr')


async def test_an_interface_that_does_not_exist(config: Path) -> None:
    config.write_text(config.read_text().replace("interface: lo", "interface: nosuch0"))
    for command in ("check-config", "run"):
        ran = await anyvip(command, "--config", str(config))
        assert (ran.code, ran.out) == (2, "")
        assert ran.err.startswith(f'{config}:8: groups.web.providers[0].interface: found "nosuch0"; allowed: an interf')
        assert len(ran.err.splitlines()) == 1
    assert (await anyvip("check-config", "--no-host-checks", "--config", str(config))).code == 0


async def test_the_file_is_found_by_the_environment_too(config: Path) -> None:
    ran = await anyvip("check-config", ANYVIP_CONFIG=str(config))
    assert ran.out.startswith(f"{config}: ok")
    ran = await anyvip("check-config", "--config", "/no/such/file", ANYVIP_CONFIG=str(config))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "/no/such/file: cannot be read (No such file or directory); "
        "allowed: a readable file, named by --config or ANYVIP_CONFIG\n"
    )


# --- commands that ask the daemon ---------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("status",), ("history",), ("pause",), ("resume",), ("switchover", "web")])
async def test_a_daemon_that_does_not_run(config: Path, command: tuple[str, ...]) -> None:
    path = config.with_name("anyvip.sock")
    expected = Ran(1, "", f"anyvip: the daemon is not running on this node: no process listens on {path}\n")
    assert await anyvip(*command, "--config", str(config)) == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without permission")
async def test_a_socket_that_one_may_not_use(config: Path) -> None:
    path = config.with_name("anyvip.sock")
    for directory in (config.parent, *config.parent.parents[:3]):
        if directory.is_relative_to("/tmp") and directory != Path("/tmp"):
            directory.chmod(0o755)
    config.chmod(0o644)
    ask = (  # first as root, to import everything: other users may be unable to read the interpreter
        "import os, sys; from controller.cli.main import main; main(sys.argv[1:]); "
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", ask, "status", "--config", str(config)]
    async with serving(Desk(), path):
        ran = await asyncio.to_thread(
            subprocess.run,
            command,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
    assert ran.returncode == 1
    assert (
        ran.stderr
        == f"anyvip: no permission to use {path}: run this as root, or join the group that admin.group names\n"
    )


async def test_status_is_a_table(config: Path) -> None:
    async with serving(Desk(), config.with_name("anyvip.sock")):
        ran = await anyvip("status", "--config", str(config))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "cluster shop   node n1   store etcd: reachable   up 1d02h\n"
        "\n"
        "GROUP  ROLE    ACTIVE  EPOCH  SINCE  GRANT  PRIORITY  HEALTH   VIPS\n"
        "web    active  n1      12     2h03m  1.9 s  100       healthy  10.77.0.100/24\n"
        "\n"
        "MEMBER     STATE  VERSION  CONFIG  web\n"
        "n1 (here)  live   0.1.0    same    healthy, priority 100, serves\n"
        "n2         live   0.1.0    same    healthy, priority 100\n"
    )


async def test_status_is_json_as_the_daemon_gives_it(config: Path) -> None:
    async with serving(Desk(), config.with_name("anyvip.sock")):
        ran = await anyvip("status", "--json", "--config", str(config))
    assert (ran.code, ran.err, len(ran.out.splitlines())) == (0, "", 1)
    assert json.loads(ran.out) == status()


@pytest.mark.parametrize(
    ("changes", "code", "line"),
    [
        ({}, 0, "OK: web: n1 serves, standby n2"),
        (
            {"standbys": [], "not_standby": {"n2": "silent for 9.0 s"}},
            1,
            "WARNING: web: no standby: n2: silent for 9.0 s",
        ),
        ({"served": False, "active": None}, 2, "CRITICAL: web: nobody serves it"),
        ({"served": None, "active": None}, 3, "UNKNOWN: web: not known whether it is served"),
    ],
)
async def test_the_check_of_monitoring(config: Path, changes: dict[str, object], code: int, line: str) -> None:
    desk = Desk()
    desk.now = status(groups={"web": group_view(**changes)})
    async with serving(desk, config.with_name("anyvip.sock")):
        assert await anyvip("status", "--check", "--config", str(config)) == Ran(code, f"{line}\n", "")
        ran = await anyvip("status", "--check", "--json", "--config", str(config))
    assert json.loads(ran.out) == {"code": code, "text": line}


async def test_the_check_names_the_worst_group_and_what_else_is_unusual(config: Path) -> None:
    desk = Desk()
    desk.now = status(
        paused=True,
        groups={"web": group_view(), "db": group_view(served=None), "app": group_view(served=False)},
    )
    async with serving(desk, config.with_name("anyvip.sock")):
        ran = await anyvip("status", "--check", "--config", str(config))
        desk.now = status(store={**desk.now["store"], "cut_off_since": 0.5}, groups={"web": group_view()})
        cut_off = await anyvip("status", "--check", "--config", str(config))
    assert ran.out.startswith("CRITICAL: app: nobody serves it; the cluster is paused")
    assert (cut_off.code, cut_off.out) == (
        1,
        "WARNING: this node is cut off from the store since 1970-01-01T00:00:00Z\n",
    )


async def test_the_check_without_a_daemon_does_not_know(config: Path, tmp_path: Path) -> None:
    ran = await anyvip("status", "--check", "--config", str(config))
    assert (ran.code, ran.err) == (3, "")
    assert ran.out.startswith("UNKNOWN: the daemon is not running")
    ran = await anyvip("status", "--check", "--config", str(tmp_path / "nowhere.yml"))
    assert (ran.code, ran.out.count("\n")) == (3, 1)


async def test_with_the_socket_no_file_is_needed(tmp_path: Path) -> None:
    socket, nowhere = tmp_path / "there.sock", {"ANYVIP_CONFIG": str(tmp_path / "nowhere.yml")}
    desk = Desk()
    async with serving(desk, socket):
        for command in (
            ["status"],
            ["history"],
            ["history", "--cluster"],
            ["pause"],
            ["resume"],
            ["switchover", "web"],
        ):
            ran = await anyvip(*command, "--socket", str(socket), **nowhere)
            assert (ran.code, ran.err) == (0, "")
    assert any(asked[:2] == ("web", None) for asked in desk.asked if isinstance(asked, tuple))


CHANGE = Change("n1", "switchover", asked_by="root on n3", taken=1.0)


@pytest.fixture
def chronicler() -> Desk:
    """Has seen two owners."""
    desk, book = Desk(), Chronicle("n1")
    for epoch in (8, 9):
        record = Ownership(SessionId("n2-a"), "n2", epoch, change=CHANGE)
        book.notice({"groups/web": Sighting(0.0, 0.0, record=record)})
    desk.events = book.entries()
    return desk


async def test_explaining_a_group(config: Path, chronicler: Desk) -> None:
    async with serving(chronicler, config.with_name("anyvip.sock")):
        last = await anyvip("explain", "web", "--config", str(config))
        earlier = await anyvip("explain", "web", "8", "--config", str(config))
        as_json = await anyvip("explain", "web", "8", "--json", "--config", str(config))
        never = await anyvip("explain", "web", "7", "--config", str(config))
        other = await anyvip("explain", "db", "--config", str(config))
        whole = await anyvip("history", "--cluster", "--json", "--config", str(config))
    assert "web, epoch 9: n2 took it from n1. Why: root on n3 asked for it." in last.out
    assert "web, epoch 8: " in earlier.out
    assert json.loads(as_json.out)["asked_by"] == "root on n3"
    assert never == Ran(1, "", "anyvip: this node remembers no epoch 7 of web; of web, it remembers 8, 9\n")
    assert other == Ran(1, "", "anyvip: this node remembers no db; of db, it remembers nothing\n")
    assert [json.loads(line)["epoch"] for line in whole.out.splitlines()] == [8, 9]


async def test_watching_outlives_the_daemon_and_ends_quietly(config: Path) -> None:
    path = config.with_name("anyvip.sock")
    async with started("status", "--watch", "--json", "--config", str(config)) as process:
        assert json.loads(await line_from(process)) == {
            "error": f"the daemon is not running on this node: no process listens on {path}",
        }
        async with serving(Desk(), path):
            while "error" in (seen := json.loads(await line_from(process))):
                pass
            assert seen == status()
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), LIMIT_SECONDS)
        assert (process.returncode, err) == (0, b"")


async def test_history(config: Path) -> None:
    desk = Desk()
    desk.entries = [
        entry("web", before="standby", after="promoting", reason="offered", stages={}, seconds=75.0),
        entry("web", stages={"bind": 0.0031, "promote": 1.25}),
        entry("db", after="fault", reason="unhealthy", detail="check app: refused", epoch=0, seconds=None, stages={}),
    ]
    async with serving(desk, config.with_name("anyvip.sock")):
        ran = await anyvip("history", "--config", str(config))
        only = await anyvip("history", "--group", "db", "--json", "--config", str(config))
    assert ran == Ran(
        0,
        "TIME                      GROUP  ROLE                  REASON          EPOCH  AFTER   STAGES                   DETAIL\n"
        "2026-01-01T00:00:00.000Z  web    standby -> promoting  offered         12     75.0 s  -\n"
        "2026-01-01T00:00:00.000Z  web    promoting -> active   promotion-done  12     4 ms    bind 3 ms promote 1.2 s\n"
        "2026-01-01T00:00:00.000Z  db     promoting -> fault    unhealthy       -      -       -                        "
        "check app: refused\n",
        "",
    )
    assert [json.loads(line) for line in only.out.splitlines()] == desk.entries[2:]


async def test_a_switchover_tells_what_happens_and_returns_when_it_is_done(config: Path) -> None:
    desk = Desk()
    desk.hold.clear()
    async with (
        serving(desk, config.with_name("anyvip.sock")),
        started("switchover", "web", "--to", "n2", "--config", str(config)) as process,
    ):
        assert await line_from(process) == "web: active: n1, epoch 12, here active"
        desk.now = status(groups={"web": group_view(role="demoting", active="n1")})
        assert await line_from(process) == "web: active: n1, epoch 12, here demoting"
        desk.now = status(groups={"web": group_view(role="standby", active="n2", epoch=13)})
        assert await line_from(process) == "web: active: n2, epoch 13, here standby"
        assert process.returncode is None
        desk.hold.set()
        assert await line_from(process) == "web: n2 serves, epoch 13, after 0.012 s"
        assert await asyncio.wait_for(process.wait(), LIMIT_SECONDS) == 0
    assert desk.asked == [("web", "n2", 30.0)]


async def test_a_switchover_that_is_refused(config: Path) -> None:
    desk = Desk()
    desk.refusal = RequestRefused(Code.NOT_HEALTHY, "n2 is not fit to serve web: check app: refused")
    async with serving(desk, config.with_name("anyvip.sock")):
        ran = await anyvip("switchover", "web", "--to", "n2", "--config", str(config))
    assert (ran.code, ran.err) == (1, "anyvip: n2 is not fit to serve web: check app: refused\n")


async def test_a_switchover_that_takes_too_long(config: Path) -> None:
    desk = Desk()
    desk.refusal = RequestRefused(Code.TIMEOUT, "another node does not serve web within 0.3 s; it is withdrawn")
    async with serving(desk, config.with_name("anyvip.sock")):
        ran = await anyvip("switchover", "web", "--timeout", "0.3", "--config", str(config))
    assert desk.asked == [("web", None, 0.3)]
    assert (ran.code, ran.err) == (1, "anyvip: another node does not serve web within 0.3 s; it is withdrawn\n")


@pytest.mark.parametrize("command", [("pause",), ("resume",), ("switchover", "web")])
async def test_a_daemon_that_ends_before_it_answers_leaves_the_outcome_open(
    config: Path, command: tuple[str, ...]
) -> None:
    async with await asyncio.start_unix_server(lambda _, writer: writer.close(), config.with_name("anyvip.sock")):
        ran = await anyvip(*command, "--config", str(config))
    assert ran.code == 1
    assert ran.err.endswith("; whether it was done, `anyvip status` shows\n")


async def test_a_request_that_reached_nobody_was_not_done(config: Path) -> None:
    ran = await anyvip("pause", "--config", str(config))
    assert ran.err.endswith(f"no process listens on {config.with_name('anyvip.sock')}\n")


async def test_a_switchover_that_is_interrupted_is_not_done(config: Path) -> None:
    desk = Desk()
    desk.hold.clear()
    async with (
        serving(desk, config.with_name("anyvip.sock")),
        started("switchover", "web", "--config", str(config)) as process,
    ):
        await until(lambda: bool(desk.asked))
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), LIMIT_SECONDS)
        said = b"interrupted: the request is withdrawn; what it has done before, `anyvip status` shows\n"
        assert (process.returncode, err) == (1, said)
        await until(lambda: desk.given_up == 1)


async def test_pause_and_resume(config: Path) -> None:
    desk = Desk()
    async with serving(desk, config.with_name("anyvip.sock")):
        assert await anyvip("pause", "--config", str(config)) == Ran(
            0, "paused: every group stays where it is until `anyvip resume`\n", ""
        )
        assert await anyvip("resume", "--config", str(config)) == Ran(0, "resumed\n", "")
        arguments = ("--for", "1h30m", "--reason", "kernel upgrade")
        assert await anyvip("pause", *arguments, "--config", str(config)) == Ran(
            0, "paused: every group stays where it is for 1h30m, or until `anyvip resume`\n", ""
        )
    assert [(r.paused, r.seconds, r.reason) for r in desk.asked] == [
        (True, 0.0, ""),
        (False, 0.0, ""),
        (True, 5400.0, "kernel upgrade"),
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45.0), ("30m", 1800.0), ("2h", 7200.0), ("1.5h", 5400.0), ("1d2h3m4s", 93784.0), ("30d", 2592000.0)],
)
def test_durations_as_people_write_them(text: str, seconds: float) -> None:
    assert _duration(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "0s", "0.5s", "31d", "2 h", "h", "1m1h", "-1h", "soon", "1e3s"])
def test_a_duration_that_cannot_be(capsys: pytest.CaptureFixture[str], text: str) -> None:
    ran = called(capsys, "pause", f"--for={text}")
    assert ran.code == 2
    said = f"argument --for: found {text!r}; allowed: from 1s to 30d, such as 45s, 30m, 2h or 1h30m\n"
    assert ran.err.endswith(said)


async def test_a_reader_that_goes_away_is_no_complaint(config: Path) -> None:
    """`anyvip history | head -1` with more than a pipe holds."""
    desk = Desk()
    desk.entries = [entry("web", detail="x" * 100) for _ in range(2000)]
    async with (
        serving(desk, config.with_name("anyvip.sock")),
        started("history", "--json", "--config", str(config)) as process,
    ):
        await line_from(process)
        assert process.stdout is not None
        process.stdout._transport.close()  # type: ignore[attr-defined]  # asyncio has no public way to close it
        assert process.stderr is not None
        err = await asyncio.wait_for(process.stderr.read(), LIMIT_SECONDS)
        assert (await asyncio.wait_for(process.wait(), LIMIT_SECONDS), err) == (1, b"")


async def test_a_configuration_that_is_wrong_by_now_does_not_keep_one_from_asking(config: Path) -> None:
    async with serving(Desk(), config.with_name("anyvip.sock")):
        config.write_text(config.read_text().replace("10.77.0.100/24", "nonsense"))
        assert (await anyvip("status", "--config", str(config))).code == 0
        config.write_text("state_dir: [a]\n")
        ran = await anyvip("status", "--config", str(config))
    assert ran == Ran(
        2, "", f"{config}:1: state_dir: found a list; allowed: the absolute path of a directory, such as /run/anyvip\n"
    )


async def test_what_is_wrong_is_said_below_the_table(config: Path) -> None:
    desk = Desk()
    now: NodeStatus = status(paused=True, members=[])
    now["store"] = {
        "type": "etcd",
        "reachable": False,
        "contact_seconds": 4.0,
        "cut_off_since": 0.5,
        "error": "10.77.0.9: connection refused",
    }
    now["groups"] = {
        "web": group_view(waits_for="n1 is preferred, for 0.5 s more", error="bind: eth0 is down", served=None),
        "db": group_view(
            role="fault",
            reason="unhealthy",
            healthy=False,
            why="check app: refused",
            grant_seconds_left=None,
            served=False,
            standbys=[],
            not_standby={"n2": "unhealthy: check app: refused", "n3": "left in order"},
        ),
        "app": group_view(role="fault", reason="duplicate-node-name", why="app passed", detail="'n1' is taken"),
        "new": group_view(role="init", reason="", healthy=False, why="check app: refused"),
    }
    desk.now = now
    async with serving(desk, config.with_name("anyvip.sock")):
        ran = await anyvip("status", "--config", str(config))
    assert ran.out.splitlines()[-10:] == [
        "paused: nothing moves until `anyvip resume`",
        (
            "I am cut off from the store since 1970-01-01T00:00:00Z (10.77.0.9: connection refused): what is shown of other "
            "nodes may be out of date"
        ),
        "web: this node does not know whether it is served",
        "web: bind: eth0 is down",
        "web: waits: n1 is preferred, for 0.5 s more",
        "db: nobody serves it",
        "db: no standby: n2: unhealthy: check app: refused; n3: left in order",
        "db: unhealthy: check app: refused",
        "app: duplicate-node-name: 'n1' is taken",
        "new: check app: refused",
    ]
    assert "store etcd: UNREACHABLE" in ran.out


def test_commands_that_ask_start_at_once() -> None:
    """Scripts call them in loops, so they import neither the models nor the web server."""
    probe = "import sys, controller.cli.main; print(sorted({'pydantic', 'aiohttp', 'asyncio', 'prometheus_client'} & set(sys.modules)))"
    command = [sys.executable, "-c", probe]
    ran = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=LIMIT_SECONDS, check=True)
    assert ran.stdout == "[]\n"


def test_a_start_that_fails_leaves_the_collector_as_it_was(tmp_path: Path) -> None:
    assert main(["run", "--config", str(tmp_path / "nowhere.yml")]) == 2
    assert gc.isenabled()
