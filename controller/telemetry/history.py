"""What happened on this node: the last transitions in memory, and in a file that outlives the daemon.

One JSON object a line. The file is written in a thread, so that a slow disk holds up nothing.
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
_CALM_SECONDS = 0.2  # a transition rarely comes alone, and a thread that writes would take its time from the next

_log = logging.getLogger("anyvip.history")


class Entry(TypedDict):
    """One transition. `seconds`: how long the role before lasted; `stages`: how long each step in it took."""

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
        self._entries: deque[Entry] = deque(maxlen=limit)
        self._unwritten: list[Entry] = []
        self._wake = asyncio.Event()
        self._lock = threading.Lock()  # of the file: the last flush may meet a write that is still under way
        self._lines = 0
        self._failing = False

    def load(self) -> None:
        """Read what earlier lives wrote. Lines that cannot be read are counted in the log and left out."""
        lines = _lines(self._path) if self._path else []
        read = [entry for line in lines if (entry := _entry(line)) is not None]
        self._entries.extend(read)
        self._lines = len(lines)
        if len(read) < len(lines):
            _log.warning("%d of %d lines of %s cannot be read", len(lines) - len(read), len(lines), self._path)

    def record(self, entry: Entry) -> None:
        """Keep the entry, and have it written soon. Never waits, never fails."""
        self._entries.append(entry)
        if self._path:
            self._unwritten.append(entry)
            self._wake.set()

    def entries(self, group: str | None = None) -> list[Entry]:
        """The entries, of one group or of all."""
        return [entry for entry in self._entries if group in (None, entry["group"])]

    def last(self, group: str) -> Entry | None:
        """The group's latest entry."""
        return next((entry for entry in reversed(self._entries) if entry["group"] == group), None)

    async def write(self) -> None:
        """Write what is recorded, until cancelled; then write the rest."""
        try:
            while True:
                await self._wake.wait()
                await asyncio.sleep(_CALM_SECONDS)
                self._wake.clear()
                await asyncio.to_thread(self.flush)
        finally:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet. A failure is logged once and costs the entries in the file only."""
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

    def _append(self, path: Path, batch: list[Entry]) -> None:
        self._lines += len(batch)
        if self._lines > 2 * self._limit:
            self._shorten(path)
            return
        with path.open("a+b") as file:
            if file.tell() and not _ends_a_line(file):
                file.write(b"\n")
            file.write(_encoded(batch))

    def _shorten(self, path: Path) -> None:
        """Begin the file anew with what is in memory, at no moment without it."""
        kept = list(self._entries)
        fresh = path.with_suffix(".new")
        fresh.write_bytes(_encoded(kept))
        fresh.replace(path)
        self._lines = len(kept)


def _ends_a_line(file: Any) -> bool:
    """Whether the last write was a whole one: a line that a full disk cut short must not swallow the next."""
    file.seek(-1, 2)
    return bool(file.read(1) == b"\n")


def _encoded(entries: Iterable[Entry]) -> bytes:
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


def _entry(line: bytes) -> Entry | None:
    try:
        body = json.loads(line)
    except ValueError:
        return None
    if not isinstance(body, dict) or not all(isinstance(body.get(name), kind) for name, kind in _FIELDS.items()):
        return None
    if not all(isinstance(seconds, int | float) for seconds in body["stages"].values()):
        return None
    return cast("Entry", {name: body[name] for name in _FIELDS})
