"""`anyvip demo` as a user runs it: it keeps its promises, ends by itself, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from controller.demo import sandbox
from tests.lab.host.namespaces import eventually

ANYVIP = [sys.executable, "-P", "-c", "import sys; from controller.cli.main import main; sys.exit(main())"]
MARK = "ANYVIP_TEST_MARK"
LIMIT_SECONDS = 180.0  # generous: this machine may have more to do
TRIES = 3
BUSY = re.compile("client outage of|stood still|monitor lost|served by no node")

pytestmark = [pytest.mark.netns, pytest.mark.timeout(600)]


@pytest.fixture(autouse=True)
def _possible() -> None:
    try:
        sandbox.flags()
    except sandbox.Unavailable as missing:
        pytest.skip(str(missing))


@pytest.fixture
def mark() -> str:
    """In the environment of the demo and of all it starts: what is left behind is found by it."""
    return uuid4().hex


def demo(mark: str, *before: str) -> subprocess.Popen[str]:
    environment = {**os.environ, MARK: mark}
    return subprocess.Popen([*before, *ANYVIP, "demo"], env=environment, stdout=subprocess.PIPE, text=True)


def left_behind(mark: str) -> list[str]:
    """Command lines of processes with the mark; a process that is ending has time to do so."""

    def found() -> list[str]:
        return [line for process in Path("/proc").glob("[0-9]*") if (line := _command_line(process, mark))]

    eventually(lambda: not found())
    return found()


def _command_line(process: Path, mark: str) -> str:
    try:
        marked = f"{MARK}={mark}".encode() in (process / "environ").read_bytes()
        return (process / "cmdline").read_text().replace("\0", " ") if marked else ""
    except OSError:  # it has just ended, or is not ours
        return ""


def promised(mark: str, *before: str) -> str:
    """What the demo told. It may try again where all that it found is what a busy machine does: two owners are not."""
    told = ""
    for _ in range(TRIES):
        process = demo(mark, *before)
        try:
            told, _ = process.communicate(timeout=LIMIT_SECONDS)
        finally:
            process.kill()
        if process.returncode == 0:
            return told
        broken = [line for line in told.splitlines() if "NOT AS PROMISED" in line]
        assert process.returncode == 1, told
        assert broken, told
        assert all(map(BUSY.search, broken)), told
    pytest.fail(told)


def links() -> str:
    return subprocess.run(["ip", "-brief", "link"], check=True, capture_output=True, text=True).stdout


def test_the_demo_keeps_its_promises_and_leaves_nothing(mark: str) -> None:
    before = links()
    told = promised(mark)
    first, second = ("n1", "n2") if "host of n1 dies" in told else ("n2", "n1")  # whichever served first
    events = (f"host of {first} dies", f"host of {first} returns", f"{second} frozen", f"{second} goes on")
    for event in (*events, f"switchover to {second}"):
        assert any(line.startswith(event) for line in told.splitlines()), told
    assert "As promised" in told
    assert left_behind(mark) == []
    assert links() == before


def test_an_ordinary_user_can_run_it(mark: str) -> None:
    """What `unshare --user` gives is all that an ordinary user has; as root, root's own rights are left outside."""
    as_user = ["unshare", "--user", "--map-root-user"] if os.geteuid() == 0 else []
    if subprocess.run([*as_user, "true"], check=False).returncode:
        pytest.skip("no user namespaces here")
    promised(mark, *as_user)
    assert left_behind(mark) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_demo_that_is_ended_early_leaves_nothing(mark: str, number: signal.Signals) -> None:
    process = demo(mark)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode != 0
    assert left_behind(mark) == []


def test_where_namespaces_are_refused_it_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "unshare").write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")
    (tmp_path / "unshare").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    run = subprocess.run(
        [*ANYVIP, "demo"], env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS
    )
    assert run.returncode == 2
    assert "Operation not permitted" in run.stderr
    assert "run it as root, or allow user namespaces" in run.stderr
