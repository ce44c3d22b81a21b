"""Keeps the last transitions of this node, in memory and in a file that outlives the daemon.

The file has one JSON object per line. A thread writes it, so that a slow disk delays nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypedDict, cast

LIMIT = 1000
_CALM_SECONDS = 0.2  # transitions rarely come alone, and a thread that writes would slow down the next one

_log = logging.getLogger("anyvip.history")


class HistoryEntry(TypedDict):
    """One transition. `seconds`: how long the previous role lasted. `stages`: the seconds that each step in it took."""

    time: str
    node: str
    group: str
    before: str
    after: str
    reason: str
    detail: str
    epoch: int
    seconds: float | None
    stages: dict[str, float]


class History:
    """The last `limit` entries, the oldest first."""

    def __init__(self, path: Path | None = None, limit: int = LIMIT) -> None:
        self._path = path
        self._limit = limit
        self._entries: deque[HistoryEntry] = deque(maxlen=limit)
        self._unwritten: list[HistoryEntry] = []
        self._wake = asyncio.Event()
        self._lock = threading.Lock()  # guards the file: the last flush can meet a write that is still under way
        self._lines = 0
        self._failing = False

    def load(self) -> None:
        """Reads what earlier lives wrote. Skips lines that cannot be read, and logs their number."""
        lines = _lines(self._path) if self._path else []
        read = [entry for line in lines if (entry := _entry(line)) is not None]
        self._entries.extend(read)
        self._lines = len(lines)
        if len(read) < len(lines):
            _log.warning("%d of %d lines of %s cannot be read", len(lines) - len(read), len(lines), self._path)

    def record(self, entry: HistoryEntry) -> None:
        """Keeps the entry and schedules writing it. Never waits, never fails."""
        self._entries.append(entry)
        if self._path:
            self._unwritten.append(entry)
            self._wake.set()

    def entries(self, group: str | None = None) -> list[HistoryEntry]:
        """Returns the entries of one group, or of all."""
        return [entry for entry in self._entries if group in (None, entry["group"])]

    def last(self, group: str) -> HistoryEntry | None:
        """Returns the group's latest entry, None if there is none."""
        return next((entry for entry in reversed(self._entries) if entry["group"] == group), None)

    async def write(self) -> None:
        """Writes recorded entries until cancelled, then writes the rest."""
        try:
            while True:
                await self._wake.wait()
                await asyncio.sleep(_CALM_SECONDS)
                self._wake.clear()
                await asyncio.to_thread(self.flush)
        finally:
            self.flush()

    def flush(self) -> None:
        """Writes the entries that the file lacks. Logs a series of failures once; only the file then lacks entries."""
        with self._lock:
            batch, self._unwritten = self._unwritten, []
            if not batch or self._path is None:
                return
            try:
                self._append(self._path, batch)
            except OSError as error:
                if not self._failing:
                    _log.warning("history is not written: %s", error)
                self._failing = True
            else:
                self._failing = False

    def _append(self, path: Path, batch: list[HistoryEntry]) -> None:
        self._lines += len(batch)
        if self._lines > 2 * self._limit:
            self._shorten(path)
            return
        with path.open("a+b") as file:
            if file.tell() and not _ends_a_line(file):
                file.write(b"\n")
            file.write(_encode(batch))

    def _shorten(self, path: Path) -> None:
        """Replaces the file by what is in memory. The old file stays until the new one is complete."""
        kept = list(self._entries)
        fresh = path.with_suffix(".new")
        fresh.write_bytes(_encode(kept))
        fresh.replace(path)
        self._lines = len(kept)


def _ends_a_line(file: Any) -> bool:
    """Reports whether the file ends with a whole line, because a full disk may have cut the last one short."""
    file.seek(-1, 2)
    return bool(file.read(1) == b"\n")


def _encode(entries: Iterable[HistoryEntry]) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        _log.warning("history is not read: %s", error)
        return []


_FIELDS: dict[str, type | tuple[type, ...]] = {
    "time": str,
    "node": str,
    "group": str,
    "before": str,
    "after": str,
    "reason": str,
    "detail": str,
    "epoch": int,
    "seconds": (int, float, type(None)),
    "stages": dict,
}


def _entry(line: bytes) -> HistoryEntry | None:
    try:
        body = json.loads(line)
    except ValueError:
        return None
    if not isinstance(body, dict) or not all(isinstance(body.get(name), kind) for name, kind in _FIELDS.items()):
        return None
    if not all(isinstance(seconds, int | float) for seconds in body["stages"].values()):
        return None
    return cast("HistoryEntry", {name: body[name] for name in _FIELDS})
