"""Promote and demote hooks: real processes."""

import asyncio
import logging
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from controller.daemon.hooks import HookContext, HookError, run_hook
from tests.lab.host.processes import LIVENESS, reaped, until, written

CONTEXT = HookContext(group="web", node="n1", epoch=7, role="active", reason="owner silent\nfor 3 s")


async def hook(
    script: str,
    *,
    timeout: float = LIVENESS,  # noqa: ASYNC109
    context: HookContext = CONTEXT,
) -> None:
    await run_hook(["/bin/sh", "-c", script, "hook"], context=context, timeout=timeout)


async def test_it_is_told_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "yes")
    told = tmp_path / "told"
    await hook(f"env -0 > {told}")
    environment = dict(line.split("=", 1) for line in told.read_text().split("\0") if line)
    assert {name: value for name, value in environment.items() if name.startswith("ANYVIP_")} == {
        "ANYVIP_GROUP": "web",
        "ANYVIP_NODE": "n1",
        "ANYVIP_EPOCH": "7",
        "ANYVIP_ROLE": "active",
        "ANYVIP_REASON": "owner silent\nfor 3 s",
    }
    assert environment["KEPT"] == "yes"


async def test_a_reason_with_a_nul_does_no_harm() -> None:
    await hook('test "$ANYVIP_REASON" = "a b"', context=HookContext("web", "n1", 7, "active", "a\0b"))


async def test_there_is_no_shell(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyvip.hooks")
    await run_hook(["/bin/echo", "$HOME; `id` | *"], context=CONTEXT, timeout=LIVENESS)
    assert caplog.messages == ["web: /bin/echo: $HOME; `id` | *"]


async def test_its_output_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyvip.hooks")
    await hook("echo starting; echo careful >&2")
    assert caplog.messages == ["web: /bin/sh: starting", "web: /bin/sh: careful"]


async def test_the_log_is_not_flooded(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyvip.hooks")
    await hook("seq 5000")
    assert len(caplog.messages) == 201
    assert caplog.messages[-1] == "web: /bin/sh: more than 200 lines, the rest is not logged"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 3", "/bin/sh: exit status 3"),
        ("echo trying; echo no such unit >&2; exit 5", "/bin/sh: exit status 5: no such unit"),
        ("kill -SEGV $$", "/bin/sh: ended by signal 11"),
    ],
)
async def test_a_failure_is_one_line_that_says_how(script: str, said: str) -> None:
    with pytest.raises(HookError) as caught:
        await hook(script)
    assert str(caught.value) == said


async def test_a_hook_that_is_not_there() -> None:
    with pytest.raises(HookError, match=r"^/nonexistent/hook: cannot be started: no such file or directory$"):
        await run_hook(["/nonexistent/hook"], context=CONTEXT, timeout=LIVENESS)


async def test_out_of_time() -> None:
    with pytest.raises(HookError, match=r"^/bin/sh: killed, because it did not end within 0\.3 s: waits for the disk$"):
        await hook("echo waits for the disk; sleep 1000 & wait", timeout=0.3)


async def test_cancelled_nothing_of_it_is_left(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    task = asyncio.create_task(hook(f"trap '' TERM; echo $$ > {pids}; sleep 1000"))
    await until(partial(written, pids))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert reaped(int(pids.read_text()))


async def test_what_it_leaves_running_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pid = tmp_path / "pid"
    await hook(f"sleep 1000 & echo $! > {pid}")
    os.kill(int(pid.read_text()), signal.SIGKILL)
    assert "give it an output of its own" in caplog.messages[-1]
