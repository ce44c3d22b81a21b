"""Prints what commands report: status and history as text for people."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from controller.api.status import GroupView, LeftMember, Member, MemberGroup, NodeStatus
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
        view["active"] or ("not known" if view["served"] is None else "nobody"),
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
    rows += [(left["node"], _gone(left), "-", "-", *("-" for _ in groups)) for left in status["left"]]
    return table(("MEMBER", "STATE", "VERSION", "CONFIG", *groups), rows) if rows else ""


def _gone(left: LeftMember) -> str:
    if left["why"] == "left":
        return f"left in order at {moment(left['at'])}"
    if left["why"] == "silent" and left["silent_since"]:
        return f"gone: silent since {moment(left['silent_since'])}, fenced by {left['by']}"
    return f"gone: fenced by {left['by']} at {moment(left['at'])}"


def _membership(group: MemberGroup | None) -> str:
    if group is None:
        return "-"
    serving = ", serves" if group["serving"] else ""
    return f"{_health(group['healthy'])}, priority {group['priority']}{serving}"


def _life(member: Member) -> str:
    if not member["campaigning"]:
        return "name taken"
    silent = f"silent for {duration(member['seen_seconds'])}"
    return {True: "live", False: silent, None: "not known"}[member["live"]]


def _health(healthy: bool | None) -> str:
    return {True: "healthy", False: "unhealthy", None: "not known yet"}[healthy]


def _remarks(status: NodeStatus) -> Iterable[str]:
    """Yields one line for everything that is wrong or unusual."""
    if status["paused"]:
        yield _pause(status)
    store = status["store"]
    if store["cut_off_since"] is not None:
        yield (
            f"I am cut off from the store since {moment(store['cut_off_since'])}"
            + (f" ({store['error']})" if store["error"] else "")
            + ": what is shown of other nodes may be out of date"
        )
    elif not store["reachable"]:
        last = store["contact_seconds"]
        since = "never answered" if last is None else f"answered {duration(last)} ago"
        yield f"store: {since}" + (f": {store['error']}" if store["error"] else "")
    for name, view in status["groups"].items():
        yield from _warn_of_loss(name, view)
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


def _warn_of_loss(name: str, view: GroupView) -> Iterable[str]:
    """Yields a line if nobody serves the group, or if nobody could take it over."""
    if view["served"] is False:
        yield f"{name}: nobody serves it"
    elif view["served"] is None:
        yield f"{name}: this node does not know whether it is served"
    if not view["standbys"] and view["served"] is not None:
        why = "; ".join(f"{node}: {reason}" for node, reason in view["not_standby"].items())
        yield f"{name}: no standby: {why or 'there is no other node'}"


def check_text(status: NodeStatus) -> tuple[int, str]:
    """Returns an exit code of monitoring plugins and one line: OK, WARNING, CRITICAL or UNKNOWN, and why."""
    found = [_check(name, view) for name, view in status["groups"].items()]
    code = max((code for code, _ in found), key=_SEVERITY.index, default=0)
    unusual = list(_list_unusual(status))
    if unusual:
        code = max(code, 1, key=_SEVERITY.index)
    texts = [text for level, text in found if level == code] + unusual
    return code, f"{_LEVELS[code]}: {'; '.join(texts)}"


def _list_unusual(status: NodeStatus) -> Iterable[str]:
    """Yields what makes a cluster that serves worth a warning."""
    cut_off = status["store"]["cut_off_since"]
    if cut_off is not None:
        yield f"this node is cut off from the store since {moment(cut_off)}"
    if status["paused"]:
        yield "the cluster is paused, so a node that fails is not replaced"


_LEVELS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_SEVERITY = (0, 1, 3, 2)  # what is known to be bad is worse than what is not known


def _check(name: str, view: GroupView) -> tuple[int, str]:
    if view["served"] is None:
        return 3, f"{name}: not known whether it is served"
    if not view["served"]:
        return 2, f"{name}: nobody serves it"
    standbys = view["standbys"]
    if not standbys:
        return 1, next(text for text in _warn_of_loss(name, view) if "no standby" in text)
    return 0, f"{name}: {view['active']} serves, standby {', '.join(standbys)}"


def moment(unix: float) -> str:
    """Renders Unix seconds as a time of day in UTC, with the date unless it is today."""
    then, now = datetime.fromtimestamp(unix, UTC), datetime.now(UTC)
    return then.strftime("%H:%M:%SZ" if then.date() == now.date() else "%Y-%m-%dT%H:%M:%SZ")
