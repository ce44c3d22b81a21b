"""The checker: rise and fall of real checks, verdicts per group, and reloads that apply only the difference."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from health.checks import Checker, CheckOptions
from health.options import CommandCheck, TcpCheck
from tests.lab.host.processes import LIVENESS, reaped, until, written

Groups = Mapping[str, Mapping[str, CheckOptions]]


class Told:
    """Collects the calls of `on_change`, and fails on more calls than expected."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[tuple[str, bool, str]] = asyncio.Queue()

    def __call__(self, group: str, healthy: bool, why: str) -> None:
        self.queue.put_nowait((group, healthy, why))

    async def next(self) -> tuple[str, bool, str]:
        async with asyncio.timeout(LIVENESS):
            return await self.queue.get()


@contextlib.asynccontextmanager
async def running(groups: Groups) -> AsyncIterator[tuple[Checker, Told]]:
    told = Told()
    checker = Checker(groups, told)
    task = asyncio.create_task(checker.run())
    try:
        yield checker, told
        assert told.queue.empty()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def there(path: Path, *, rise: int = 2, fall: int = 3, interval: float = 0.03) -> CommandCheck:
    """Returns a check that passes while the file exists. Each run adds a dot to `<file>.runs`."""
    script = f"printf . >> {path}.runs; test -e {path}"
    argv = ("/bin/sh", "-c", script)
    return CommandCheck(
        type="command", argv=argv, interval_seconds=interval, timeout_seconds=LIVENESS, rise=rise, fall=fall
    )


def runs(path: Path) -> int:
    record = path.with_name(path.name + ".runs")
    return len(record.read_text()) if record.exists() else 0


async def more_runs(path: Path, count: int) -> None:
    """Waits for `count` more runs, the last of them complete."""
    goal = runs(path) + count + 1
    await until(lambda: runs(path) >= goal)


async def test_a_group_without_checks_is_healthy_at_once() -> None:
    async with running({"web": {}}) as (_, told):
        assert await told.next() == ("web", True, "no checks")


async def test_only_changes_are_told(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.touch()
    async with running({"web": {"app": there(app)}}) as (_, told):
        assert await told.next() == ("web", True, "app passed")
        app.unlink()
        assert await told.next() == ("web", False, "app: exit status 1")
        app.touch()
        assert await told.next() == ("web", True, "app passed")
        await more_runs(app, 5)


async def test_fall_and_rise_are_counted(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.touch()
    async with running({"web": {"app": there(app, rise=4, fall=6)}}) as (_, told):
        assert (await told.next())[1]
        for present, needed in ((False, 6), (True, 4)):
            before = runs(app)
            if present:
                app.touch()
            else:
                app.unlink()
            assert (await told.next())[1] is present
            assert runs(app) - before >= needed - 1  # one may have been under way


async def test_all_checks_of_a_group_must_be_up(tmp_path: Path) -> None:
    app, disk = tmp_path / "app", tmp_path / "disk"
    app.touch()
    groups = {"web": {"app": there(app, fall=1), "disk": there(disk, rise=1)}, "db": {"app": there(app, fall=1)}}
    async with running(groups) as (_, told):
        first = sorted([await told.next(), await told.next()])
        assert first == [("db", True, "app passed"), ("web", False, "disk: exit status 1")]
        disk.touch()
        assert await told.next() == ("web", True, "app, disk passed")
        app.unlink()
        last = sorted([await told.next(), await told.next()])
        assert last == [("db", False, "app: exit status 1"), ("web", False, "app: exit status 1")]


async def test_nothing_is_told_while_a_check_has_no_result(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.touch()
    endless = CommandCheck(type="command", argv=("/bin/sleep", "1000"), timeout_seconds=1000)
    async with running({"web": {"app": there(app), "endless": endless}}) as (_, told):
        await more_runs(app, 5)
        assert told.queue.empty()


async def test_a_check_that_raises_has_failed_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any exception is a failure of the check; here, of a label that no resolver accepts."""
    check = TcpCheck(
        type="tcp", target="a" * 64 + ".invalid:80", interval_seconds=0.02, timeout_seconds=LIVENESS, fall=1
    )
    async with running({"web": {"app": check}}) as (checker, told):
        group, healthy, why = await told.next()
        assert (group, healthy) == ("web", False)
        assert why.startswith("app: UnicodeError")
        checker.reconfigure({"web": {}})
        assert await told.next() == ("web", True, "no checks")


async def test_reconfiguring_keeps_what_is_the_same(tmp_path: Path) -> None:
    app, db, new = tmp_path / "app", tmp_path / "db", tmp_path / "new"
    for path in (app, db, new):
        path.touch()
    slow = 1000.0  # so that a second run means that the check began again
    async with running({"web": {"app": there(app, interval=slow)}, "db": {"db": there(db)}}) as (checker, told):
        assert sorted([(await told.next())[0], (await told.next())[0]]) == ["db", "web"]
        checker.reconfigure({"web": {"app": there(app, interval=slow)}, "new": {"new": there(new)}})
        assert await told.next() == ("new", True, "new passed")
        assert runs(app) == 1
        gone = runs(db)
        await more_runs(new, 3)
        assert runs(db) <= gone + 1


async def test_a_changed_check_begins_anew_and_the_verdict_stands_meanwhile(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.touch()
    async with running({"web": {"app": there(app, fall=1000)}}) as (checker, told):
        assert (await told.next())[1]
        app.unlink()
        await more_runs(app, 2)
        checker.reconfigure({"web": {"app": there(app, fall=999)}})
        assert told.queue.empty()
        assert await told.next() == ("web", False, "app: exit status 1")  # the first result alone decides


async def test_reconfigured_before_it_runs() -> None:
    told = Told()
    checker = Checker({"old": {}}, told)
    checker.reconfigure({"new": {}})
    task = asyncio.create_task(checker.run())
    assert await told.next() == ("new", True, "no checks")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told.queue.empty()


async def test_stopping_ends_what_the_checks_have_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"echo $$ > {pid}; exec sleep 1000"
    endless = CommandCheck(type="command", argv=("/bin/sh", "-c", script), timeout_seconds=1000)
    async with running({"web": {"endless": endless}}):
        await until(lambda: written(pid))
    assert reaped(int(pid.read_text()))
