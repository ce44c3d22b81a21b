"""A real local API, with a `Control` that a test sets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from controller.api.client import Client
from controller.api.server import PAUSE_SECONDS, AdminApi, Moved, PauseRequest, RequestRefused
from controller.api.socket import SocketAccess
from controller.api.status import GroupView, Member, NodeStatus
from controller.telemetry.chronicle import ChronicleEntry
from controller.telemetry.history import HistoryEntry


def group_view(**changes: Any) -> GroupView:
    """Returns a group that this node serves, with these changes."""
    view = GroupView(
        role="active",
        role_seconds=7380.0,
        reason="promotion-done",
        detail="",
        active="n1",
        epoch=12,
        vips=["10.77.0.100/24"],
        priority=100,
        healthy=True,
        why="",
        grant_seconds_left=1.93,
        waits_for="",
        error="",
        wanted=None,
        failed=None,
        served=True,
        standbys=["n2"],
        not_standby={},
    )
    return GroupView(**{**view, **changes})  # type: ignore[typeddict-item]


def member(node: str, **changes: Any) -> Member:
    """Returns a live member that is fit for the group web, with these changes."""
    groups = {"web": {"priority": 100, "healthy": True, "serving": 12 if node == "n1" else 0}}
    base: dict[str, Any] = {"node": node, "session": f"{node}-3f2a", "here": node == "n1", "live": True}
    base |= {"seen_seconds": 0.2, "campaigning": True, "version": "0.1.0", "differs": []}
    return Member(**{**base, "groups": groups, **changes})  # type: ignore[typeddict-item]


def status(**changes: Any) -> NodeStatus:
    """Returns the status of one of two healthy nodes, with these changes."""
    base = NodeStatus(
        version="0.1.0",
        cluster="shop",
        node="n1",
        session="n1-3f2a",
        paused=False,
        pause=None,
        uptime_seconds=93784.0,
        store={"type": "etcd", "reachable": True, "contact_seconds": 0.1, "cut_off_since": None, "error": ""},
        groups={"web": group_view()},
        members=[member("n1"), member("n2")],
        left=[],
    )
    return NodeStatus(**{**base, **changes})  # type: ignore[typeddict-item]


def entry(group: str, **changes: Any) -> HistoryEntry:
    """Returns a transition that ended a promotion, with these changes."""
    base = HistoryEntry(
        time="2026-01-01T00:00:00.000Z",
        node="n1",
        group=group,
        before="promoting",
        after="active",
        reason="promotion-done",
        detail="",
        epoch=12,
        seconds=0.0042,
        stages={"bind": 0.0031},
    )
    return HistoryEntry(**{**base, **changes})  # type: ignore[typeddict-item]


class Desk:
    """Answers as set, and records the requests. `hold`: a switchover waits until it is set. `given_up`: cancelled."""

    def __init__(self) -> None:
        self.now = status()
        self.entries = [entry("web"), entry("db")]
        self.events: list[ChronicleEntry] = []
        self.asked: list[Any] = []
        self.refusal: RequestRefused | None = None
        self.hold = asyncio.Event()
        self.hold.set()
        self.given_up = 0

    def status(self) -> NodeStatus:
        """Returns `now`."""
        return self.now

    def history(self) -> list[HistoryEntry]:
        """Returns `entries`."""
        return self.entries

    def chronicle(self) -> list[ChronicleEntry]:
        """Returns `events`."""
        return self.events

    async def switchover(self, group: str, to: str | None, seconds: float, by: str) -> Moved:
        """Waits for `hold`, then succeeds or raises the refusal."""
        assert by, "whoever asks has a name"
        self.asked.append((group, to, seconds))
        try:
            await self.hold.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if self.refusal:
            raise self.refusal
        return Moved(group, "n1", to or "n2", 13, 0.0123)

    async def pause(self, request: PauseRequest, seconds: float) -> None:
        """Succeeds, or raises the refusal."""
        assert seconds == PAUSE_SECONDS
        self.asked.append(request)
        if self.refusal:
            raise self.refusal


@asynccontextmanager
async def serving(desk: Desk, path: Path, access: SocketAccess | None = None) -> AsyncIterator[Client]:
    """Serves the desk's local API on this socket, and yields a client."""
    api = AdminApi(desk, path, access or SocketAccess())
    await api.start()
    try:
        yield Client(path)
    finally:
        await api.close()
