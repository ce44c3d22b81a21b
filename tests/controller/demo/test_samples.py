"""Conclusions from samples: two nodes that answer are noticed, and one alone never counts as two."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controller.demo.samples import (
    NOBODY,
    Sample,
    SampleKind,
    astray,
    first_answer,
    flaws,
    longest_silence,
    ownerless,
    spans,
    two_answering,
    two_healthy,
)


def every_millisecond(kind: SampleKind, node: int, start: int, end: int, delay: float = 0.0002) -> Iterator[Sample]:
    """Yields samples asked each millisecond of [start, end), answered after half the delay and received after it."""
    for tick in range(start, end):
        asked = tick / 1000
        yield Sample(kind, node, 0, asked, asked + delay / 2 if kind is not SampleKind.ARP else 0.0, asked + delay)


def sent_to(node: int, start: int, end: int) -> Iterator[Sample]:
    return (Sample(SampleKind.SENT, node, 0, tick / 1000, 0.0, 0.0) for tick in range(start, end))


def probed(node: int, *codes: int) -> Iterator[Sample]:
    """Returns one health probe each 100 ms, which takes 2 ms."""
    return (Sample(SampleKind.HEALTH, node, code, n / 10, 0.0, n / 10 + 0.002) for n, code in enumerate(codes))


@pytest.mark.parametrize("kind", [SampleKind.UDP, SampleKind.ARP])
def test_a_handover_is_one_owner_after_the_other(kind: SampleKind) -> None:
    samples = [*every_millisecond(kind, 0, 0, 100), *every_millisecond(kind, 1, 100, 200)]
    assert two_answering(samples, 2) == 0


@pytest.mark.parametrize("kind", [SampleKind.UDP, SampleKind.ARP])
def test_two_who_answer_are_two_for_as_long_as_both_do(kind: SampleKind) -> None:
    samples = [*every_millisecond(kind, 0, 0, 100), *every_millisecond(kind, 1, 70, 200)]
    assert two_answering(samples, 2) == pytest.approx(0.029, abs=0.001)


def test_one_who_answers_arp_and_another_who_answers_traffic_are_two() -> None:
    samples = [*every_millisecond(SampleKind.ARP, 0, 0, 100), *every_millisecond(SampleKind.UDP, 1, 50, 200)]
    assert two_answering(samples, 2) == pytest.approx(0.049, abs=0.001)


def test_a_single_answer_beside_another_owner_counts() -> None:
    samples = [*every_millisecond(SampleKind.UDP, 0, 0, 100), *every_millisecond(SampleKind.UDP, 1, 50, 51)]
    assert two_answering(samples, 2) > 0


def test_an_answer_that_was_delayed_on_its_way_is_not_a_second_owner() -> None:
    """Node 0 last answered at 99 ms. Answers that arrive 50 ms later do not make it an owner for longer."""
    for kind in (SampleKind.UDP, SampleKind.ARP):
        late = [*every_millisecond(kind, 0, 0, 100, delay=0.05)]
        in_time = [*every_millisecond(SampleKind.UDP, 1, 130, 200)]
        assert two_answering([*late, *in_time], 2) == 0, kind


def test_an_owner_who_pauses_answered_twice() -> None:
    samples = [*every_millisecond(SampleKind.UDP, 0, 0, 100), *every_millisecond(SampleKind.UDP, 0, 200, 300)]
    assert len(spans(samples, SampleKind.UDP, 0)) == 2
    assert ownerless(samples, 2, 0.0, 0.3) == pytest.approx(0.101, abs=0.001)


def test_silence_counts_up_to_the_edges_of_the_window() -> None:
    samples = [*every_millisecond(SampleKind.CLIENT, 0, 100, 200)]
    assert longest_silence(samples, (SampleKind.CLIENT,), 0.0, 0.25) == pytest.approx(0.1, abs=0.001)
    assert longest_silence(samples, (SampleKind.CLIENT,), 0.15, 0.5) == pytest.approx(0.3, abs=0.001)


def test_the_first_answer_is_the_first_to_anybody() -> None:
    samples = [*every_millisecond(SampleKind.CLIENT, 1, 80, 90), *every_millisecond(SampleKind.ARP, 1, 60, 90)]
    assert first_answer(samples, 1, 0.0) == pytest.approx(0.0602)
    assert first_answer(samples, 0, 0.0) is None


def test_a_client_is_astray_while_it_sends_to_one_and_another_alone_answers() -> None:
    answers = [*every_millisecond(SampleKind.UDP, 1, 0, 300)]
    assert astray([*answers, *sent_to(0, 0, 200), *sent_to(1, 200, 300)], 2, 0.0) == pytest.approx(0.198, abs=0.002)
    assert astray([*answers, *sent_to(NOBODY, 0, 200), *sent_to(1, 200, 300)], 2, 0.0) == 0


def test_two_healthy_nodes_are_two_from_the_first_certain_moment_to_the_last() -> None:
    assert two_healthy([*probed(0, 200, 200, 503, 503), *probed(1, 503, 503, 200, 200)], 2, 0.1) == 0
    assert two_healthy([*probed(0, 200, 200, 200, 503), *probed(1, 200, 200, 200, 200)], 2, 0.1) == pytest.approx(0.198)


def test_what_a_prober_did_not_see_proves_nothing() -> None:
    lost = Sample(SampleKind.LOST, NOBODY, 3, 0.0, 0.0, 0.0)
    stalled = Sample(SampleKind.STALL, NOBODY, 0, 1.0, 0.0, 1.08)
    assert flaws([lost, lost], stall=0.05) == ["the monitor lost 6 packets of its own"]
    assert flaws([stalled], stall=0.05) == ["a prober stood still for 80 ms"]
    assert flaws([stalled], stall=0.1) == []
