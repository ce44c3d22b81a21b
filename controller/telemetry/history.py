"""Keeps the last transitions of this node."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict, cast

from controller.telemetry.journal import LIMIT, Journal, parse_object


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


class History(Journal[HistoryEntry]):
    """The last `limit` transitions, the oldest first."""

    def __init__(self, path: Path | None = None, limit: int = LIMIT) -> None:
        super().__init__(path, limit, _entry)

    def entries(self, group: str | None = None) -> list[HistoryEntry]:
        """Returns the entries of one group, or of all."""
        return [entry for entry in self._entries if group in (None, entry["group"])]

    def last(self, group: str) -> HistoryEntry | None:
        """Returns the group's latest entry, None if there is none."""
        return next((entry for entry in reversed(self._entries) if entry["group"] == group), None)


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
    return cast("HistoryEntry | None", parse_object(line, _FIELDS))
