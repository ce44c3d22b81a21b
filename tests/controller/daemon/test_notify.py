"""What systemd hears, on a real datagram socket."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from controller.daemon.notify import notify, ping_watchdog, watchdog_seconds
from tests.lab.host.processes import LIVENESS


@pytest.mark.parametrize("abstract", [True, False])
def test_a_state_reaches_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = "@anyvip-test-" + tmp_path.name if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0", 1))
        systemd.settimeout(LIVENESS)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify("READY=1")
        assert systemd.recv(100) == b"READY=1"


def test_nobody_listening_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")


@pytest.mark.parametrize(("value", "seconds"), [("30000000", 30.0), ("", None), ("0", None), ("soon", None)])
def test_how_often_the_watchdog_wants_to_hear(
    monkeypatch: pytest.MonkeyPatch, value: str, seconds: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", value)
    assert watchdog_seconds() == seconds


async def test_systemd_hears_as_long_as_the_loop_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, over = [True, False, True], asyncio.Event()

    def alive() -> bool:
        if not answers:
            over.set()
        return bool(answers) and answers.pop()

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "30000")
        pinging = asyncio.create_task(ping_watchdog(alive))
        async with asyncio.timeout(LIVENESS):
            await over.wait()
        pinging.cancel()
        assert [systemd.recv(100), systemd.recv(100)] == [b"WATCHDOG=1"] * 2
        with pytest.raises(BlockingIOError):
            systemd.recv(100)


async def test_where_no_watchdog_listens_nobody_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    async with asyncio.timeout(LIVENESS):
        await ping_watchdog(lambda: True)
