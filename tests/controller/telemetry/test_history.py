"""The history: which entries it keeps, and which of them outlive the daemon."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from controller.telemetry.history import History, HistoryEntry
from tests.lab.host.processes import until, written
from tests.lab.node.desk import entry


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


def loaded(path: Path, limit: int = 1000) -> History:
    history = History(path, limit)
    history.load()
    return history


def groups(entries: list[HistoryEntry]) -> list[str]:
    return [one["group"] for one in entries]


def test_without_a_file_it_is_memory() -> None:
    history = History()
    history.load()
    history.record(entry("web"))
    history.flush()
    assert history.entries() == [entry("web")]


def test_the_oldest_are_forgotten() -> None:
    history = History(limit=3)
    for number in range(5):
        history.record(entry(f"g{number}"))
    assert groups(history.entries()) == ["g2", "g3", "g4"]
    assert groups(history.entries("g3")) == ["g3"]


def test_the_last_of_a_group() -> None:
    history = History()
    assert history.last("web") is None
    for number, group in enumerate(["web", "db", "web", "db"]):
        history.record(entry(group, epoch=number))
    last = history.last("web")
    assert last is not None
    assert last["epoch"] == 2


def test_another_life_goes_on_with_it(path: Path) -> None:
    first = loaded(path)
    first.record(entry("web", detail="Zürich\nline", stages={"bind": 0.5}, seconds=None))
    first.flush()
    second = loaded(path)
    second.record(entry("db"))
    second.flush()
    assert loaded(path).entries() == [
        entry("web", detail="Zürich\nline", stages={"bind": 0.5}, seconds=None),
        entry("db"),
    ]


async def test_it_is_written_while_the_daemon_runs_and_when_it_ends(path: Path) -> None:
    history = loaded(path)
    writing = asyncio.create_task(history.write())
    history.record(entry("web"))
    await until(lambda: written(path))
    history.record(entry("db"))  # the task has not noticed it yet
    writing.cancel()
    await asyncio.wait([writing])
    assert groups(loaded(path).entries()) == ["web", "db"]


def test_the_file_is_bounded(path: Path) -> None:
    history = loaded(path, limit=10)
    for number in range(100):
        history.record(entry(f"g{number}"))
        history.flush()
        assert len(path.read_bytes().splitlines()) <= 20
    assert groups(loaded(path, limit=10).entries()) == [f"g{number}" for number in range(90, 100)]
    assert [file.name for file in path.parent.iterdir()] == ["history.jsonl"]


def test_a_file_that_was_long_already_is_shortened(path: Path) -> None:
    path.write_text((json.dumps(entry("old")) + "\n") * 50)
    history = loaded(path, limit=10)
    history.record(entry("new"))
    history.flush()
    assert groups(loaded(path, limit=10).entries()) == ["old"] * 9 + ["new"]
    assert len(path.read_bytes().splitlines()) == 10


def test_lines_that_cannot_be_read_are_left_out(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = json.dumps(entry("web"))
    bad = [
        "",
        "{",
        "null",
        "[]",
        "{}",
        json.dumps({**entry("web"), "epoch": "7"}),
        json.dumps({**entry("web"), "stages": {"bind": "slow"}}),
        json.dumps({name: value for name, value in entry("web").items() if name != "reason"}),
        "\udcff\udcfe",
    ]
    path.write_bytes("\n".join([good, *bad, good]).encode("utf-8", "surrogateescape") + b"\n")
    assert groups(loaded(path).entries()) == ["web", "web"]
    assert f"9 of 11 lines of {path} cannot be read" in caplog.text


def test_keys_of_a_newer_version_are_left_out(path: Path) -> None:
    path.write_text(json.dumps({**entry("web"), "colour": "blue"}) + "\n")
    assert loaded(path).entries() == [entry("web")]


def test_a_line_that_was_cut_short_does_not_swallow_the_next(path: Path) -> None:
    path.write_text(json.dumps(entry("web")) + "\n" + '{"time": "20')
    history = loaded(path)
    history.record(entry("db"))
    history.flush()
    assert groups(loaded(path).entries()) == ["web", "db"]


def test_a_disk_that_is_full_costs_the_file_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    history = History(Path("/dev/full"))
    for _ in range(3):
        history.record(entry("web"))
        history.flush()
    assert groups(history.entries()) == ["web"] * 3
    assert caplog.text.count("history is not written") == 1
    assert "No space left on device" in caplog.text


def test_a_file_that_may_not_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert loaded(tmp_path).entries() == []
    assert "history is not read" in caplog.text
