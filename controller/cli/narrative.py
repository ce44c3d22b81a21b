"""Tells the events of a cluster in plain sentences: `anyvip history --cluster` and `anyvip explain`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from controller.cli.output import duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from controller.telemetry.chronicle import ChronicleEntry

_STEPS = ("demote", "reset", "shut", "bind", "announce", "promote")
_FENCED = {
    "silent": "{by} had heard nothing from it since {since}, and fenced it",
    "missing": "its session was missing from the store since {since}, so {by} fenced it",
    "earlier-life": "its daemon was restarted, and ended the session of its earlier life",
    "left": "it had left",
}
_WHY = {
    "group-was-free": "nobody had it",
    "handed-over": "its owner handed it over",
    "regained": "its record still named this node, but its guard was shut",
    "unhealthy": "{was} was not fit",
    "switchover": "{asked_by} asked for it",
    "stopping": "{was} was told to stop",
    "step-failed": "a step failed on {was}",
    "priority-zero": "{was} has priority 0",
    "removed-from-configuration": "{was} no longer has the group in its configuration",
    "grant-expired": "{was} could not renew its right to serve in time",
    "owned-by-another": "the record named another node",
    "group-record-gone": "the group's record was deleted",
    "session-over": "the session of {was} had ended",
    "store-went-back": "the store showed older records than before",
    "released": "{was} gave it back",
    "address-claimed": "its addresses were in another group",
    "bad-record": "the group's record could not be read",
    "internal-error": "an error on {was} stopped the decision about it",
}


def chronicle_text(entries: Sequence[ChronicleEntry]) -> str:
    """Renders one paragraph for each event, the oldest first."""
    return "\n\n".join(sentence for entry in _drop_stopovers(entries) if (sentence := tell(entry)))


def _drop_stopovers(entries: Sequence[ChronicleEntry]) -> Iterable[ChronicleEntry]:
    """Yields the entries without releases that the next change of owner tells again."""
    later: set[tuple[str, str, str]] = set()
    kept = []
    for entry in reversed(entries):
        key = entry["group"], entry["was"], entry["shut"]
        if entry["kind"] == "owner" and not entry["owner"] and key in later:
            continue
        if entry["owner"] and entry["shut"]:
            later.add(key)
        kept.append(entry)
    return reversed(kept)


def tell(entry: ChronicleEntry) -> str:
    """Returns what happened, to whom, since when, and for how long nobody served."""
    at = entry["taken"] or entry["shut"] or entry["since"] or entry["time"]
    sentences = {"owner": _tell_owner, "left": _tell_end, "cut-off": _tell_cut_off}.get(entry["kind"], _tell_nothing)
    return f"{at}  " + "\n    ".join(sentences(entry))


def _tell_owner(entry: ChronicleEntry) -> list[str]:
    group, owner, was = entry["group"], entry["owner"], entry["was"]
    if not owner:
        return [f"{group}: {was or 'its owner'} gave it up, and nobody took it. {_explain(entry)}", *_tell_gap(entry)]
    if was in ("", owner):
        how = f"{owner} took it" + (" again" if was else "")
    else:
        how = f"{owner} took it from {was}" if entry["taken"] else f"{was} handed it to {owner}"
    return [f"{group}, epoch {entry['epoch']}: {how}. {_explain(entry)}", *_tell_gap(entry), *_tell_stages(entry)]


def _explain(entry: ChronicleEntry) -> str:
    why = entry["why"]
    words = {**entry, "since": entry["since"] or "an unknown time", "asked_by": entry["asked_by"] or "an operator"}
    if why == "owner-fenced":
        fence = _FENCED.get(entry["detail"], "its session was fenced")
        return _sentence(f"Why: {fence.format_map({**words, 'by': entry['told_by'] or 'another node'})}")
    if not why:
        return f"Why is not known to {entry['node']}: it was not there to see it, or another version wrote the record."
    text = _WHY.get(why, why).format_map(words)
    return _sentence(f"Why: {text}" + (f" ({entry['detail']})" if entry["detail"] and why != "switchover" else ""))


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _tell_gap(entry: ChronicleEntry) -> Iterable[str]:
    owner, since, served = entry["owner"], entry["since"], entry["served"]
    if since and entry["why"] != "owner-fenced":  # which says since when, too
        clock = entry["told_by"] or entry["was"]
        shut = f" Its guard was shut at {entry['shut']}." if entry["shut"] else ""
        yield f"{entry['was'] or 'The last owner'} served until {since} (clock of {clock}).{shut}"
    if not owner:
        yield "Nobody serves it from then on."
    elif not served:
        yield f"{owner} has not said yet that it serves."
    else:
        yield f"{owner} serves since {served} (clock of {entry['served_by'] or owner}). {_measure(entry)}".rstrip()


def _measure(entry: ChronicleEntry) -> str:
    """Returns for how long nobody served.

    The clocks of two nodes can differ, so their difference is told only if the owner's own clock does not refute it.
    """
    between, gap = _seconds_between(entry["since"], entry["served"]), entry["gap_seconds"]
    planned = bool(entry["shut"]) and entry["told_by"] == entry["was"]
    if planned and between is not None and between >= 0 and (gap is None or between <= gap):
        return f"Nobody served for about {duration(between)}, if both clocks agree."
    if gap is not None:
        return f"Nobody served for {duration(gap)} at most (measured by {entry['owner']})."
    return ""


def _seconds_between(before: str, after: str) -> float | None:
    try:
        return (datetime.fromisoformat(after) - datetime.fromisoformat(before)).total_seconds()
    except (ValueError, TypeError):
        return None


def _tell_stages(entry: ChronicleEntry) -> Iterable[str]:
    stages = entry["stages"]
    told = [f"{step} {duration(stages[step])}" for step in _STEPS if step in stages]
    if told:
        yield f"Steps: {', '.join(told)}."


def _tell_end(entry: ChronicleEntry) -> list[str]:
    if entry["why"] == "left":
        return [f"member {entry['was']}: it left in order."]
    words = {"by": entry["told_by"], "since": entry["since"] or "an unknown time"}
    return [
        f"member {entry['was']}: its session ended: {_FENCED.get(entry['why'], 'it was fenced').format_map(words)}."
    ]


def _tell_cut_off(entry: ChronicleEntry) -> list[str]:
    node, until = entry["node"], entry["served"]
    if not until:
        return [f"member {node}: it has no answer from the store since {entry['since']}."]
    seconds = _seconds_between(entry["since"], until)
    how_long = f" ({duration(seconds)})" if seconds is not None else ""
    return [f"member {node}: it had no answer from the store from {entry['since']} to {until}{how_long}."]


def _tell_nothing(entry: ChronicleEntry) -> list[str]:
    return [f"{entry['kind']} {entry['group']}"]
