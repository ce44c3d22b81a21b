"""Every input that the fuzzer ever kept or found is harmless; and the fuzzer finds what is planted."""

from __future__ import annotations

import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import CORPUS
from tests.fuzz.fuzzer import Target, corpus_of, fuzz
from tests.fuzz.targets import TARGETS, play


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_corpus_is_harmless(target: Target) -> None:
    for value in corpus_of(CORPUS, target):
        target.run(value)


def test_there_is_a_corpus() -> None:
    assert len([path for path in CORPUS.rglob("*") if path.is_file()]) > 20


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_events_and_no_records_make_the_core_raise(value: bytes) -> None:
    play(value)


def test_the_fuzzer_finds_what_only_coverage_leads_to() -> None:
    def run(value: bytes) -> None:
        if value[:1] != b"a":
            return
        if value[1:2] != b"n":
            return
        if value[2:3] == b"y":
            raise KeyError(value)

    before = sys.gettrace()
    report = fuzz(Target("planted", run, (__file__,), (), (b"---",)), [b"---"], seconds=60.0, seed=1, findings=1)
    assert sys.gettrace() is before
    assert [place.partition(" ")[0] for place in report.found] == ["KeyError"]
    assert report.arcs > 3
