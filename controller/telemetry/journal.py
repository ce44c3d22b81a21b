"""A list of entries in memory, and in a file that outlives the daemon.

The file has one JSON object per line. A thread writes it, so that a slow disk delays nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar

LIMIT = 1000
_CALM_SECONDS = 0.2  # entries rarely come alone, and a thread that writes would slow down the next one

_log = logging.getLogger("anyvip.history")

E = TypeVar("E")


class Journal(Generic[E]):
    """The last `limit` entries, the oldest first. `parse` returns the entry on a line, or None if there is none."""

    def __init__(self, path: Path | None, limit: int, parse: Callable[[bytes], E | None]) -> None:
        self._path = path
        self._limit = limit
        self._parse = parse
        self._entries: deque[E] = deque(maxlen=limit)
        self._unwritten: list[E] = []
        self._wake = asyncio.Event()
        self._lock = threading.Lock()  # guards the file: the last flush can meet a write that is still under way
        self._lines = 0
        self._failing = False

    def load(self) -> None:
        """Reads what earlier lives wrote. Skips lines that cannot be read, and logs their number."""
        lines = _lines(self._path) if self._path else []
        read = [entry for line in lines if (entry := self._parse(line)) is not None]
        self._entries.extend(read)
        self._lines = len(lines)
        if len(read) < len(lines):
            _log.warning("%d of %d lines of %s cannot be read", len(lines) - len(read), len(lines), self._path)

    def record(self, entry: E) -> None:
        """Keeps the entry and schedules writing it. Never waits, never fails."""
        self._entries.append(entry)
        if self._path:
            self._unwritten.append(entry)
            self._wake.set()

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

    def _append(self, path: Path, batch: list[E]) -> None:
        self._lines += len(batch)
        if self._lines > 2 * self._limit:
            self._shorten(path)
            return
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        with open(path, "a+b", opener=_open_without_following) as file:
            if file.tell() and not _ends_a_line(file):
                file.write(b"\n")
            file.write(_encode(batch))

    def _shorten(self, path: Path) -> None:
        """Replaces the file by what is in memory. The old file stays until the new one is complete."""
        kept = list(self._entries)
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        fresh.write_bytes(_encode(kept))
        fresh.replace(path)
        self._lines = len(kept)


def _open_without_following(path: str, flags: int) -> int:
    """Opens the file, unless another user has put a link in its place."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o644)


def _ends_a_line(file: Any) -> bool:
    """Reports whether the file ends with a whole line, because a full disk may have cut the last one short."""
    file.seek(-1, 2)
    return bool(file.read(1) == b"\n")


def _encode(entries: Iterable[object]) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        _log.warning("history is not read: %s", error)
        return []


def parse_object(line: bytes, kinds: dict[str, type | tuple[type, ...]]) -> dict[str, Any] | None:
    """Returns the JSON object on the line with these fields, or None if one is missing or of another type."""
    try:
        body = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict) or not all(isinstance(body.get(name), kind) for name, kind in kinds.items()):
        return None
    if not all(isinstance(seconds, int | float) for seconds in body["stages"].values()):
        return None
    return {name: body[name] for name in kinds}
