"""Keeps what this node has seen of the whole cluster: changes of owner, members that left, times without the store.

Each node keeps its own chronicle, from the records that it reads anyway. A survivor can therefore tell the whole story.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from controller.core.group import Reason
from controller.core.records import GROUPS, Change, Ownership, Record, Session
from controller.telemetry.journal import LIMIT, Journal, parse_object
from controller.telemetry.logs import utc

if TYPE_CHECKING:
    from controller.core.election import Sighting

OWNER, LEFT, CUT_OFF = "owner", "left", "cut-off"


class ChronicleEntry(TypedDict):
    """One event, as the node `node` knows it. Moments are RFC 3339, empty if not known.

    - ``owner``: the group has another owner, or none (`owner` is empty). `since`: from when on nobody served, as
      `told_by` saw it. `gap_seconds`: for how long at most nobody served, by the clock of the owner.
    - ``left``: the session of the node `was` has ended. `told_by` fenced it, and had not heard of it `since` then.
    - ``cut-off``: this node had no answer from the store `since` then, until `served`.
    """

    time: str  # when `node` saw it first
    node: str
    kind: str
    group: str
    epoch: int
    owner: str
    was: str
    why: str
    detail: str
    asked_by: str
    since: str
    told_by: str
    shut: str
    taken: str
    taken_as: str
    served: str
    served_by: str  # the node whose clock shows that
    gap_seconds: float | None
    stages: dict[str, float]


class Chronicle(Journal[ChronicleEntry]):
    """The last `limit` events, the oldest first. An event that becomes better known is written again."""

    def __init__(
        self, node: str = "", path: Path | None = None, limit: int = LIMIT, *, wall: Callable[[], float] = lambda: 0.0
    ) -> None:
        super().__init__(path, limit, _entry)
        self._node = node
        self._wall = wall
        self._seen: dict[str, Record | None] = {}
        self._last: dict[str, ChronicleEntry] = {}  # by group

    def load(self) -> None:
        """Reads what earlier lives wrote."""
        super().load()
        self._last = {entry["group"]: entry for entry in self.entries() if entry["kind"] == OWNER}

    def entries(self, group: str | None = None) -> list[ChronicleEntry]:
        """Returns the events of one group, or of all, each as it is known best."""
        known = {identify(entry): entry for entry in self._entries if group in (None, entry["group"])}
        return list(known.values())

    def notice(self, sightings: Mapping[str, Sighting]) -> list[ChronicleEntry]:
        """Records what the store shows now. Returns the events that are new, or better known than before."""
        before, self._seen = self._seen, {key: seen.record for key, seen in sightings.items()}
        told: list[ChronicleEntry | None] = []
        news = {key: record for key, record in self._seen.items() if record is not before.get(key)}
        told += [self._notice_end(one) for one in news.values() if isinstance(one, Session) and one.fenced]
        for key, record in news.items():
            if isinstance(record, Ownership):
                told.append(self._notice_owner(key.removeprefix(GROUPS), before.get(key), record))
        told += [
            self._notice_serving(group) for group, last in self._last.items() if last["owner"] and not last["served"]
        ]
        return [entry for entry in told if entry is not None]

    def cut_off(self, since: float, until: float | None = None) -> ChronicleEntry:
        """Records that the store does not answer this node since a moment (Unix time), or did not until another one."""
        return self._keep(_make(self._node, self._now(), CUT_OFF, since=_show(since), served=_show(until or 0.0)))

    def _now(self) -> str:
        return utc(self._wall())

    def _keep(self, entry: ChronicleEntry) -> ChronicleEntry:
        self.record(entry)
        if entry["kind"] == OWNER:
            self._last[entry["group"]] = entry
        return entry

    def _notice_owner(self, group: str, before: Record | None, record: Ownership) -> ChronicleEntry | None:
        last = self._last.get(group)
        if record.new:
            return None
        entry = _make(
            self._node, self._now(), OWNER, group=group, epoch=record.epoch, owner=record.node or "",
        )  # fmt: skip
        if last is not None and identify(last) == identify(entry):
            entry = last  # known already; what the record no longer tells stays
        entry = cast("ChronicleEntry", {**entry, **_find_story(before, record)})
        if record.change is not None and record.change.served:
            entry["served_by"] = entry["owner"]
        return None if entry == last else self._keep(entry)

    def _notice_end(self, record: Session) -> ChronicleEntry | None:
        ended = record.ended
        if ended is None:
            return None
        entry = _make(
            self._node, self._now(), LEFT, was=record.node, why=ended.why, told_by=ended.by,
            since=_show(ended.since), shut=_show(ended.at),
        )  # fmt: skip
        known = any(identify(old) == identify(entry) for old in self._entries)
        return None if known else self._keep(entry)

    def _notice_serving(self, group: str) -> ChronicleEntry | None:
        """Records that the owner's session says that it serves: it might never tell so in the group's record."""
        entry = self._last[group]
        for record in self._seen.values():
            member = record.groups.get(group) if isinstance(record, Session) and not record.fenced else None
            if member is not None and member.serving == entry["epoch"]:
                return self._keep(cast("ChronicleEntry", {**entry, "served": self._now(), "served_by": self._node}))
        return None


def identify(entry: ChronicleEntry) -> tuple[object, ...]:
    """Returns what two entries about the same event have in common."""
    if entry["kind"] == OWNER:
        return OWNER, entry["group"], entry["epoch"], entry["owner"]
    return entry["kind"], entry["was"], entry["since"], entry["shut"]


def _find_story(before: Record | None, record: Ownership) -> dict[str, object]:
    """Returns what the record tells, or else what its change shows."""
    if record.change is not None:
        return _tell(record.change)
    if not isinstance(before, Ownership) or before.epoch == record.epoch:
        return {}
    free = before.new or before.session is None
    return {"was": before.node or "", "why": Reason.FREE.value if free else ""}


def _tell(change: Change) -> dict[str, object]:
    told: dict[str, object] = {
        "was": change.was,
        "why": change.why,
        "detail": change.detail,
        "asked_by": change.asked_by,
        "since": _show(change.since),
        "told_by": change.told_by,
        "shut": _show(change.shut),
        "taken": _show(change.taken),
        "taken_as": change.taken_as,
        "stages": dict(change.stages),
    }
    if change.served:  # until then, it is known from the owner's session
        told |= {"served": _show(change.served), "gap_seconds": change.gap or None}
    return told


def _show(unix: float) -> str:
    """Renders Unix seconds; nothing for 0, and for what is no moment of these centuries."""
    return utc(unix) if 0 < unix < 1e10 else ""


def _make(node: str, time: str, kind: str, **known: object) -> ChronicleEntry:
    blank = ChronicleEntry(
        time=time, node=node, kind=kind, group="", epoch=0, owner="", was="", why="", detail="", asked_by="", since="",
        told_by="", shut="", taken="", taken_as="", served="", served_by="", gap_seconds=None, stages={},
    )  # fmt: skip
    return cast("ChronicleEntry", {**blank, **known})


_FIELDS: dict[str, type | tuple[type, ...]] = {
    **{name: (float, int, type(None)) if name == "gap_seconds" else str for name in ChronicleEntry.__annotations__},
    "epoch": int,
    "stages": dict,
}


def _entry(line: bytes) -> ChronicleEntry | None:
    return cast("ChronicleEntry | None", parse_object(line, _FIELDS))
