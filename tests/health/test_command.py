"""Commands under a time limit: real processes."""

import asyncio
import os
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from health.command import CommandError, Ended, run
from tests.lab.host.clocks import put_forward
from tests.lab.host.processes import LIVENESS, ended, reaped, until, written

LONG = 1000.0  # only a test that moves the clock forward reaches this limit


async def sh(
    script: str,
    *,
    timeout: float = LIVENESS,  # noqa: ASYNC109
    grace: float = 0.0,
) -> tuple[Ended, list[str]]:
    lines: list[str] = []
    ended = await run(["/bin/sh", "-c", script], timeout=timeout, grace=grace, on_line=lines.append)
    return ended, lines


async def out_of_time(script: str, wrote: Path, *, grace: float) -> None:
    """Runs the script, and ends its time limit when it has written a line to the file."""
    task = asyncio.create_task(sh(script, timeout=LONG, grace=grace))
    await until(partial(written, wrote))
    put_forward(LONG)
    with pytest.raises(TimeoutError):
        await task


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    ("script", "status", "said"),
    [("exit 0", 0, "exit status 0"), ("exit 3", 3, "exit status 3"), ("kill -9 $$", -9, "ended by signal 9")],
)
async def test_exit_status(script: str, status: int, said: str) -> None:
    how, _ = await sh(script)
    assert (how, str(how)) == (Ended(status, held=False), said)


async def test_both_streams_line_by_line() -> None:
    _, lines = await sh("echo one; echo two >&2; printf 'no end'")
    assert lines == ["one", "two", "no end"]


async def test_output_is_made_fit_for_a_log() -> None:
    _, lines = await sh(r"printf 'a\033[31mb\tc\r\n\n \nd\377\n'; head -c 3000 /dev/zero | tr '\0' x")
    assert lines == ["a [31mb c", "d\N{REPLACEMENT CHARACTER}", "x" * 500]


async def test_output_comes_as_it_is_written() -> None:
    lines: asyncio.Queue[str] = asyncio.Queue()
    argv = ["/bin/sh", "-c", "echo begun; exec sleep 1000"]
    task = asyncio.create_task(run(argv, timeout=1000, on_line=lines.put_nowait))
    async with asyncio.timeout(LIVENESS):
        assert await lines.get() == "begun"
    task.cancel()
    await asyncio.wait([task])


async def test_more_output_than_a_pipe_holds() -> None:
    _, lines = await sh("seq 100000")
    assert lines == [str(number) for number in range(1, 100_001)]


async def test_a_character_cut_in_two() -> None:
    _, lines = await sh(r"printf '\303'; sleep 0.1; printf '\244\n'")
    assert lines == ["ä"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["/nonexistent/program"], "cannot be started: no such file or directory"),
        ([os.devnull], "cannot be started: permission denied"),
        (["/bin/true", "a\0b"], "cannot be started: embedded null byte"),
    ],
)
async def test_what_cannot_be_started(argv: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=f"^{said}$"):
        await run(argv, timeout=LIVENESS, on_line=lambda _: None)


async def test_out_of_time_the_whole_group_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"trap '' TERM; (trap '' TERM; sleep 1000) & echo $$ $! > {pids}; sleep 1000; sleep 1000"
    await out_of_time(script, pids, grace=0.2)
    for pid in pids.read_text().split():
        await until(partial(ended, int(pid)))


async def test_sigterm_comes_first(tmp_path: Path) -> None:
    note = tmp_path / "note"
    begun = tmp_path / "begun"
    script = f"trap 'echo tidy > {note}; exit 0' TERM; echo > {begun}; sleep 1000 & wait"
    await out_of_time(script, begun, grace=LIVENESS)
    assert note.read_text() == "tidy\n"


async def test_what_outlives_its_leader_after_sigterm_is_killed(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    await out_of_time(
        f"(trap '' TERM; echo $$ > {pid}.trapped; sleep 1000) & echo $! > {pid}; wait", pid, grace=LIVENESS
    )
    await until(partial(ended, int(pid.read_text())))


async def test_cancelled_the_group_is_killed_and_reaped(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    task = asyncio.create_task(sh(f"sleep 1000 & echo $$ $! > {pids}; wait"))
    await until(partial(written, pids))
    leader, child = (int(pid) for pid in pids.read_text().split())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert reaped(leader)
    await until(partial(ended, child))


async def test_cancelled_again_while_it_is_being_killed_it_is_reaped_all_the_same(tmp_path: Path) -> None:
    """A TaskGroup that ends just after one of its tasks was cancelled does this."""
    pid = tmp_path / "pid"
    task = asyncio.create_task(sh(f"echo $$ > {pid}; exec sleep 1000"))
    await until(partial(written, pid))
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert reaped(int(pid.read_text()))


async def test_what_it_leaves_running_holds_nobody_up(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    how, lines = await sh(f"sleep 1000 & echo $! > {pid}; echo done")
    try:
        assert (how, lines) == (Ended(0, held=True), ["done"])
        assert not ended(int(pid.read_text()))  # it is left alone
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


async def test_it_inherits_nothing_but_its_three_streams() -> None:
    reading, writing = os.pipe()
    try:
        os.set_inheritable(writing, True)
        script = "import os; print(sorted(fd for fd in range(256) if os.path.exists(f'/proc/self/fd/{fd}')))"
        lines: list[str] = []
        await run([sys.executable, "-c", script], timeout=LIVENESS, on_line=lines.append)
        assert lines == ["[0, 1, 2]"]
    finally:
        os.close(reading)
        os.close(writing)


async def test_output_without_end_leaves_the_loop_its_turns() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    running = asyncio.create_task(run(["/usr/bin/yes"], timeout=LONG, on_line=lambda _: None))
    await until(lambda: turns > 50)
    put_forward(LONG)
    with pytest.raises(TimeoutError):
        await running
    counting.cancel()


async def test_no_descriptor_is_left_open() -> None:
    before = descriptors()
    for script in ("exit 0", "exit 1"):
        await sh(script)
    with pytest.raises(TimeoutError):
        await sh("sleep 1000", timeout=0.1)
    with pytest.raises(CommandError):
        await run(["/nonexistent"], timeout=1, on_line=lambda _: None)
    assert descriptors() == before
