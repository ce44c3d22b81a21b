"""What the probers saw, and what follows from it. Pure.

All moments are CLOCK_MONOTONIC in seconds: one machine, one clock, in every network namespace.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from itertools import combinations, pairwise
from typing import NamedTuple

NOBODY = 255
JOIN_SECONDS = 0.020  # answers no further apart belong together
CYCLE_SECONDS = 0.001  # what one answer beside another's counts for


class Kind(IntEnum):
    """What a sample tells."""

    SENT = 1  # a client's datagram left; node: whose MAC it was sent to
    CLIENT = 2  # a client's datagram was answered
    UDP = 3  # a node, asked by its own MAC, answered VIP traffic
    ARP = 4  # a node, asked by its own MAC, answered ARP for the VIP
    HEALTH = 5  # value: the HTTP status; 0 when there was no answer
    LOST = 6  # the monitor lost packets of its own: what it says is void; value: how many
    STALL = 7  # the prober itself was held up from `sent` to `received`


class Sample(NamedTuple):
    """One observation. `answered` is the moment at which the node itself says it answered, where it does."""

    kind: int
    node: int
    value: int
    sent: float
    answered: float
    received: float


LAYOUT = struct.Struct("<BBhddd")


class Span(NamedTuple):
    """A node answered without a pause at least from `start` to `end`."""

    start: float
    end: float


def spans(samples: Iterable[Sample], kind: Kind, node: int) -> list[Span]:
    """When the node certainly answered: never longer than it was.

    UDP answers carry the node's own moment. ARP answers do not: the first counts from when it was received, the
    last up to when its question was sent, so that a delayed answer makes a span shorter and never longer.
    """
    found: list[Span] = []
    for sample in samples:
        if sample.kind != kind or sample.node != node:
            continue
        first, last = (sample.received, sample.sent) if kind is Kind.ARP else (sample.answered, sample.answered)
        if found and last - found[-1].end <= JOIN_SECONDS:
            found[-1] = Span(found[-1].start, max(found[-1].end, last))
        else:
            found.append(Span(first, last))
    return [span for span in found if span.end >= span.start]


def two_answering(samples: Sequence[Sample], nodes: int) -> float:
    """For how many seconds in all at least two nodes answered VIP traffic or ARP."""
    seen = {node: merged(spans(samples, Kind.UDP, node) + spans(samples, Kind.ARP, node)) for node in range(nodes)}
    return sum(_overlap(seen[one], seen[other]) for one, other in combinations(seen, 2))


def two_healthy(samples: Sequence[Sample], nodes: int, period: float) -> float:
    """For how many seconds in all at least two nodes certainly told a load balancer 200."""
    seen = {node: _healthy(samples, node, period) for node in range(nodes)}
    return sum(_overlap(seen[one], seen[other]) for one, other in combinations(seen, 2))


def longest_silence(samples: Iterable[Sample], kinds: Iterable[Kind], since: float, until: float) -> float:
    """The longest time in which nothing of these kinds came back."""
    wanted = frozenset(kinds)
    moments = [s.received for s in samples if s.kind in wanted and since <= s.received <= until]
    return max(after - before for before, after in pairwise([since, *moments, until]))


def first_answer(samples: Iterable[Sample], node: int, since: float) -> float | None:
    """When the node's first answer to anybody was received, after that moment."""
    answers = (Kind.CLIENT, Kind.UDP, Kind.ARP)
    moments = (s.received for s in samples if s.kind in answers and s.node == node and s.sent >= since)
    return min(moments, default=None)


def ownerless(samples: Sequence[Sample], nodes: int, since: float, until: float) -> float:
    """The longest time in which no node answered VIP traffic sent to its own MAC."""
    served = merged([span for node in range(nodes) for span in spans(samples, Kind.UDP, node)])
    inner = [span for span in served if span.end >= since and span.start <= until]
    edges = [Span(since, since), *inner, Span(until, until)]
    return max(0.0, *(after.start - before.end for before, after in pairwise(edges)))


def astray(samples: Sequence[Sample], nodes: int, since: float) -> float:
    """The longest time in which the client kept sending to one node's MAC while only another one answered."""
    owners = {node: spans(samples, Kind.UDP, node) for node in range(nodes)}
    longest, began = 0.0, None
    for sample in samples:
        if sample.kind != Kind.SENT or sample.sent < since:
            continue
        owner = _owner(owners, sample.sent)
        if sample.node in (NOBODY, owner):
            began = None
        elif owner is not None:
            began = sample.sent if began is None else began
            longest = max(longest, sample.sent - began)
    return longest


def flaws(samples: Iterable[Sample], stall: float) -> list[str]:
    """Why nothing may be concluded from these samples; empty when all is well. `stall`: the longest allowed."""
    kept = list(samples)
    lost = sum(s.value for s in kept if s.kind == Kind.LOST)
    stalled = max((s.received - s.sent for s in kept if s.kind == Kind.STALL), default=0.0)
    found = [f"the monitor lost {lost} packets of its own"] if lost else []
    return found + ([f"a prober stood still for {stalled * 1000:.0f} ms"] if stalled > stall else [])


def merged(found: Iterable[Span]) -> list[Span]:
    """The spans in order, with those that touch made one."""
    joined: list[Span] = []
    for span in sorted(found):
        if joined and span.start <= joined[-1].end:
            joined[-1] = Span(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined


def _overlap(ours: Iterable[Span], theirs: Sequence[Span]) -> float:
    shared = (
        min(a.end, b.end) - max(a.start, b.start) for a in ours for b in theirs if a.start <= b.end and b.start <= a.end
    )
    return sum(max(length, CYCLE_SECONDS) for length in shared)


def _healthy(samples: Iterable[Sample], node: int, period: float) -> list[Span]:
    """From the end of the first probe that saw 200 to the beginning of the last one in a row."""
    found: list[Span] = []
    last: Sample | None = None
    for sample in samples:
        if sample.kind != Kind.HEALTH or sample.node != node:
            continue
        if sample.value == 200:
            if last is not None and last.value == 200 and sample.sent - last.sent < 3 * period:
                found[-1] = Span(found[-1].start, sample.sent)
            else:
                found.append(Span(sample.received, sample.sent))
        last = sample
    return [span for span in found if span.end >= span.start]


def _owner(owners: dict[int, list[Span]], moment: float) -> int | None:
    """Which node, and only which, answers at that moment."""
    there = [node for node, found in owners.items() if any(s.start <= moment <= s.end for s in found)]
    return there[0] if len(there) == 1 else None
