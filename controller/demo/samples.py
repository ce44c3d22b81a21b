"""The samples that the probers take, and the conclusions from them. Pure.

All moments are CLOCK_MONOTONIC in seconds. All network namespaces of a machine share this clock.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from itertools import combinations, pairwise
from typing import NamedTuple

NOBODY = 255
JOIN_SECONDS = 0.020  # answers with a smaller gap belong together
CYCLE_SECONDS = 0.001  # the least that an overlap of two nodes' answers counts


class SampleKind(IntEnum):
    """The kinds of samples."""

    SENT = 1  # a client's datagram left; node: the one to whose MAC it was sent
    CLIENT = 2  # a client's datagram was answered
    UDP = 3  # a node, asked by its own MAC, answered VIP traffic
    ARP = 4  # a node, asked by its own MAC, answered ARP for the VIP
    HEALTH = 5  # value: the HTTP status; 0 when there was no answer
    LOST = 6  # the monitor itself lost packets, which voids its samples; value: how many
    STALL = 7  # the prober itself stood still from `sent` to `received`


class Sample(NamedTuple):
    """One observation. `answered`: when the node answered by its own account, for kinds whose answers carry that."""

    kind: int
    node: int
    value: int
    sent: float
    answered: float
    received: float


LAYOUT = struct.Struct("<BBhddd")


class Span(NamedTuple):
    """A time during which a node answered without a pause; the real one is at least as long."""

    start: float
    end: float


def spans(samples: Iterable[Sample], kind: SampleKind, node: int) -> list[Span]:
    """Returns the times during which the node certainly answered.

    UDP answers carry the moment at which the node answered. ARP answers do not: a span begins when its first answer was
    received, and ends when the question of its last answer was sent. So a delayed answer only makes a span shorter.
    """
    found: list[Span] = []
    for sample in samples:
        if sample.kind != kind or sample.node != node:
            continue
        first, last = (sample.received, sample.sent) if kind is SampleKind.ARP else (sample.answered, sample.answered)
        if found and last - found[-1].end <= JOIN_SECONDS:
            found[-1] = Span(found[-1].start, max(found[-1].end, last))
        else:
            found.append(Span(first, last))
    return [span for span in found if span.end >= span.start]


def two_answering(samples: Sequence[Sample], nodes: int) -> float:
    """Returns for how many seconds in total at least two nodes answered VIP traffic or ARP."""
    seen = {
        node: merge(spans(samples, SampleKind.UDP, node) + spans(samples, SampleKind.ARP, node))
        for node in range(nodes)
    }
    return sum(_overlap(seen[one], seen[other]) for one, other in combinations(seen, 2))


def two_healthy(samples: Sequence[Sample], nodes: int, period: float) -> float:
    """Returns for how many seconds in total at least two nodes certainly answered 200 to a load balancer."""
    seen = {node: _healthy(samples, node, period) for node in range(nodes)}
    return sum(_overlap(seen[one], seen[other]) for one, other in combinations(seen, 2))


def longest_silence(samples: Iterable[Sample], kinds: Iterable[SampleKind], since: float, until: float) -> float:
    """Returns the longest time, in seconds, in which no sample of these kinds came back."""
    wanted = frozenset(kinds)
    moments = [s.received for s in samples if s.kind in wanted and since <= s.received <= until]
    return max(after - before for before, after in pairwise([since, *moments, until]))


def first_answer(samples: Iterable[Sample], node: int, since: float) -> float | None:
    """Returns when the node's first answer to a question sent from `since` on was received; None if there is none."""
    answers = (SampleKind.CLIENT, SampleKind.UDP, SampleKind.ARP)
    moments = (s.received for s in samples if s.kind in answers and s.node == node and s.sent >= since)
    return min(moments, default=None)


def ownerless(samples: Sequence[Sample], nodes: int, since: float, until: float) -> float:
    """Returns the longest time, in seconds, in which no node answered VIP traffic sent to its own MAC."""
    served = merge([span for node in range(nodes) for span in spans(samples, SampleKind.UDP, node)])
    inner = [span for span in served if span.end >= since and span.start <= until]
    edges = [Span(since, since), *inner, Span(until, until)]
    return max(0.0, *(after.start - before.end for before, after in pairwise(edges)))


def astray(samples: Sequence[Sample], nodes: int, since: float) -> float:
    """Returns the longest time, in seconds, in which the client sent to one MAC while only another node answered."""
    owners = {node: spans(samples, SampleKind.UDP, node) for node in range(nodes)}
    longest, began = 0.0, None
    for sample in samples:
        if sample.kind != SampleKind.SENT or sample.sent < since:
            continue
        owner = _owner(owners, sample.sent)
        if sample.node in (NOBODY, owner):
            began = None
        elif owner is not None:
            began = sample.sent if began is None else began
            longest = max(longest, sample.sent - began)
    return longest


def flaws(samples: Iterable[Sample], stall: float) -> list[str]:
    """Returns why these samples prove nothing; empty if they do. `stall`: the longest one allowed, in seconds."""
    kept = list(samples)
    lost = sum(s.value for s in kept if s.kind == SampleKind.LOST)
    stalled = max((s.received - s.sent for s in kept if s.kind == SampleKind.STALL), default=0.0)
    found = [f"the monitor lost {lost} packets of its own"] if lost else []
    return found + ([f"a prober stood still for {stalled * 1000:.0f} ms"] if stalled > stall else [])


def merge(found: Iterable[Span]) -> list[Span]:
    """Returns the spans in order, and joins those that touch."""
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
    """Returns spans from the answer of the first 200 in a row to the question of the last."""
    found: list[Span] = []
    last: Sample | None = None
    for sample in samples:
        if sample.kind != SampleKind.HEALTH or sample.node != node:
            continue
        if sample.value == 200:
            if last is not None and last.value == 200 and sample.sent - last.sent < 3 * period:
                found[-1] = Span(found[-1].start, sample.sent)
            else:
                found.append(Span(sample.received, sample.sent))
        last = sample
    return [span for span in found if span.end >= span.start]


def _owner(owners: dict[int, list[Span]], moment: float) -> int | None:
    """Returns the only node that answers at that moment; None if there is none or more than one."""
    there = [node for node, found in owners.items() if any(s.start <= moment <= s.end for s in found)]
    return there[0] if len(there) == 1 else None
