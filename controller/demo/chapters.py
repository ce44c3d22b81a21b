"""Judges the chapters of the demo's story, and renders the table at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.demo.lab import Host
from controller.demo.narrator import show_code
from controller.demo.samples import (
    Sample,
    SampleKind,
    first_answer,
    flaws,
    longest_silence,
    ownerless,
    two_answering,
    two_healthy,
)

HEALTH_PERIOD_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Chapter:
    """One event, from `since` to `until`. `outage_limit`: how many seconds the client may be without an answer."""

    event: str
    before: Host | None
    after: Host | None
    since: float
    until: float
    outage_limit: float


@dataclass(frozen=True, slots=True)
class ChapterOutcome:
    """The measurements of one chapter, in seconds. `broken` names each promise that was not kept."""

    chapter: Chapter
    first_answer: float | None
    outage: float
    nobody: float
    codes: str
    two: float
    broken: tuple[str, ...]


HEADINGS = ("event", "served by", "first answer", "client outage", "no owner", "health codes", "two answering")


def outcome(
    chapter: Chapter, expected: Host | None, samples: Sequence[Sample], nodes: Sequence[Host]
) -> ChapterOutcome:
    """Judges one chapter by the samples that the probers took in it."""
    outage = longest_silence(samples, (SampleKind.CLIENT,), chapter.since, chapter.until)
    two = two_answering(samples, len(nodes))
    healthy = two_healthy(samples, len(nodes), HEALTH_PERIOD_SECONDS)
    broken = [
        *(flaw for flaw in flaws(samples, stall=1.0)),
        *([] if expected == chapter.after else [f"served by {_name(chapter.after)}, expected {_name(expected)}"]),
        *([] if outage <= chapter.outage_limit else [f"client outage of {_ms(outage)}"]),
        *([] if not two else [f"two nodes answered for {_ms(two)}"]),
        *([] if not healthy else [f"two nodes answered 200 for {_ms(healthy)}"]),
    ]
    taken = None
    if chapter.after is not None and chapter.after != chapter.before:
        taken = first_answer(samples, nodes.index(chapter.after), chapter.since)
    return ChapterOutcome(
        chapter,
        None if taken is None else taken - chapter.since,
        outage,
        ownerless(samples, len(nodes), chapter.since, chapter.until),
        ", ".join(f"{node.name} {_codes(samples, number)}" for number, node in enumerate(nodes)),
        two,
        tuple(broken),
    )


def table(outcomes: Sequence[ChapterOutcome]) -> str:
    """Renders all chapters, one line each."""
    rows = [HEADINGS, *(_row(o) for o in outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _row(o: ChapterOutcome) -> tuple[str, ...]:
    before, after = _name(o.chapter.before), _name(o.chapter.after)
    served = after if before == after else f"{before} -> {after}"
    return (
        o.chapter.event,
        served,
        "" if o.first_answer is None else _ms(o.first_answer),
        _ms(o.outage),
        _ms(o.nobody),
        o.codes,
        _ms(o.two),
    )


def _codes(samples: Sequence[Sample], node: int) -> str:
    """Returns the health codes in the order in which they were seen, without repetitions."""
    seen: list[str] = []
    for sample in samples:
        if (
            sample.kind == SampleKind.HEALTH
            and sample.node == node
            and (not seen or seen[-1] != show_code(sample.value))
        ):
            seen.append(show_code(sample.value))
    return " -> ".join(seen)


def _name(host: Host | None) -> str:
    return "no node" if host is None else host.name


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
