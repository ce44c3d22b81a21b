"""Prints what commands report: status and history as text for people."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from controller.api.status import GroupView, Member, MemberGroup, NodeStatus
    from controller.telemetry.history import HistoryEntry

_VIPS_SHOWN = 2


def say(text: object) -> None:
    """Prints to stdout."""
    print(text, flush=True)  # noqa: T201


def complain(text: object) -> None:
    """Prints to stderr why a command failed."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def status_text(status: NodeStatus) -> str:
    """Renders the node, its groups, the members, and below them whatever is wrong."""
    parts = [_headline(status), _groups(status), _members(status), "\n".join(_remarks(status))]
    return "\n\n".join(part for part in parts if part)


def history_text(entries: Iterable[HistoryEntry]) -> str:
    """Renders one line for each transition, the oldest first."""
    rows = [
        (
            entry["time"],
            entry["group"],
            f"{entry['before']} -> {entry['after']}",
            entry["reason"],
            str(entry["epoch"] or "-"),
            "-" if entry["seconds"] is None else duration(entry["seconds"]),
            " ".join(f"{name} {duration(seconds)}" for name, seconds in entry["stages"].items()) or "-",
            entry["detail"],
        )
        for entry in entries
    ]
    return table(("TIME", "GROUP", "ROLE", "REASON", "EPOCH", "AFTER", "STAGES", "DETAIL"), rows)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Renders aligned columns, without blanks at the ends of lines."""
    lines = [headings, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def duration(seconds: float) -> str:
    """Renders seconds as people say them: ``12 ms``, ``1.9 s``, ``3m12s``, ``2h03m``, ``4d02h``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours < 24 else f"{hours // 24}d{hours % 24:02}h"


def _headline(status: NodeStatus) -> str:
    store = status["store"]
    reached = "reachable" if store["reachable"] else "UNREACHABLE"
    return (
        f"cluster {status['cluster']}   node {status['node']}   store {store['type']}: {reached}   "
        f"up {duration(status['uptime_seconds'])}"
    )


def _groups(status: NodeStatus) -> str:
    headings = ("GROUP", "ROLE", "ACTIVE", "EPOCH", "SINCE", "GRANT", "PRIORITY", "HEALTH", "VIPS")
    return table(headings, [_group(name, view) for name, view in status["groups"].items()])


def _group(name: str, view: GroupView) -> tuple[str, ...]:
    left, more = view["grant_seconds_left"], len(view["vips"]) - _VIPS_SHOWN
    return (
        name,
        view["role"],
        view["active"] or "nobody",
        str(view["epoch"] or "-"),
        duration(view["role_seconds"]),
        "-" if left is None else duration(max(left, 0.0)),
        str(view["priority"]),
        _health(view["healthy"]),
        " ".join(view["vips"][:_VIPS_SHOWN]) + (f" and {more} more" if more > 0 else ""),
    )


def _members(status: NodeStatus) -> str:
    groups = list(status["groups"])
    rows = [
        (
            member["node"] + (" (here)" if member["here"] else ""),
            _life(member),
            member["version"] or "-",
            "differs" if member["differs"] else "same",
            *(_membership(member["groups"].get(group)) for group in groups),
        )
        for member in status["members"]
    ]
    return table(("MEMBER", "STATE", "VERSION", "CONFIG", *groups), rows) if rows else ""


def _membership(group: MemberGroup | None) -> str:
    if group is None:
        return "-"
    serving = ", serves" if group["serving"] else ""
    return f"{_health(group['healthy'])}, priority {group['priority']}{serving}"


def _life(member: Member) -> str:
    if not member["campaigning"]:
        return "name taken"
    return {True: "live", False: "silent", None: "not known yet"}[member["live"]]


def _health(healthy: bool | None) -> str:
    return {True: "healthy", False: "unhealthy", None: "not known yet"}[healthy]


def _remarks(status: NodeStatus) -> Iterable[str]:
    """Yields one line for everything that is wrong or unusual."""
    if status["paused"]:
        yield _pause(status)
    store = status["store"]
    if not store["reachable"]:
        last = store["contact_seconds"]
        since = "never answered" if last is None else f"answered {duration(last)} ago"
        yield f"store: {since}" + (f": {store['error']}" if store["error"] else "")
    for name, view in status["groups"].items():
        if view["healthy"] is False or view["role"] == "fault":
            said = view["why"] if view["healthy"] is False else view["detail"]
            yield ": ".join(part for part in (name, view["reason"], said or "not fit to serve") if part)
        wanted = view.get("wanted")
        if wanted is not None:
            yield f"{name}: an operator has asked for a switchover to {wanted or 'another node'}"
        failed = view.get("failed")  # absent while an older daemon still runs
        if failed is not None:
            yield f"{name}: {failed['step']} failed {duration(failed['seconds'])} ago: {failed['error']}"
        if view["error"] and (failed is None or view["error"] != failed["error"]):
            yield f"{name}: {view['error']}"
        if view["waits_for"]:
            yield f"{name}: waits: {view['waits_for']}"
    yield from (f"{member['node']}: {differs}" for member in status["members"] for differs in member["differs"])


def _pause(status: NodeStatus) -> str:
    """Returns who has paused the cluster, why, since when and for how long."""
    pause = status.get("pause")  # absent while an older daemon still runs
    if pause is None:
        return "paused: nothing moves until `anyvip resume`"
    who = f" by {pause['by']} on {pause['node']}" if pause["by"] else ""
    why = f" ({pause['why']})" if pause["why"] else ""
    left = pause["seconds_left"]
    rest = "until `anyvip resume`" if left is None else f"for another {duration(left)}, or until `anyvip resume`"
    return f"paused{who} {duration(pause['seconds'])} ago{why}: nothing moves {rest}"
