"""The rules of the claims hold in every order of steps, and each of them is needed."""

# ruff: noqa: ARG002  (a method that replaces a rule ignores its arguments)
from __future__ import annotations

import re

import pytest

from controller.core.rules import Rules
from tests.models.claims import ClaimRules, search


class NoClear(ClaimRules):
    def needs_clear(self) -> bool:
        return False


class EarlyLook(ClaimRules):
    def look_counts(self, *, fresh: bool) -> bool:
        return True


class MissingIgnored(ClaimRules):
    def missing_blocks(self) -> bool:
        return False


class ForgetsSession(ClaimRules):
    def remembers_session(self) -> bool:
        return False


class ComesBack(ClaimRules):
    def over_when_back(self) -> bool:
        return False


class DropsClaim(ClaimRules):
    def may_change_claim(self, opened: str) -> bool:
        return True


class ServesRenamed(ClaimRules):
    def serves_renamed(self) -> bool:
        return True


class Forgets(ClaimRules):
    def forgets(self) -> bool:
        return True


WEAKER = [
    (NoClear, 5),
    (EarlyLook, 13),
    (DropsClaim, 15),
    (MissingIgnored, 16),
    (ForgetsSession, 14),
    (ComesBack, 18),
    (ServesRenamed, 14),
]
NAMES = {
    NoClear: "needs_clear",
    EarlyLook: "look_counts",
    DropsClaim: "keeps_claim",
    MissingIgnored: "missing_blocks",
    ForgetsSession: "remembers_session",
    ComesBack: "came_back",
}


@pytest.mark.parametrize(("edits", "deletions", "states"), [(1, 1, 45_089), (2, 1, 155_690)])
def test_no_order_of_steps_breaks_the_rules(edits: int, deletions: int, states: int) -> None:
    assert search(ClaimRules(), edits, deletions) == (None, states)


@pytest.mark.parametrize(("weaker", "length"), WEAKER)
def test_without_a_rule_there_is_a_trace(weaker: type[ClaimRules], length: int) -> None:
    trace, _ = search(weaker())
    assert trace is not None
    assert len(trace) == length
    assert {step[0] for step in trace if " opens as " in step} == {"A", "B"}


@pytest.mark.parametrize(("weaker", "name"), NAMES.items())
def test_the_rule_says_how_long_its_trace_is(weaker: type[ClaimRules], name: str) -> None:
    said = re.search(r"\((\d+)\)", vars(Rules)[name].__doc__)
    assert said is not None
    assert int(said[1]) == dict(WEAKER)[weaker]


@pytest.mark.parametrize("weaker", [ClaimRules, NoClear, EarlyLook, DropsClaim])
def test_merging_states_loses_nothing(weaker: type[ClaimRules]) -> None:
    (merged, few), (plain, many) = search(weaker(), 1, 0), search(weaker(), 1, 0, merged=False)
    assert (merged and len(merged)) == (plain and len(plain))
    assert few < many


def test_the_case_that_the_rules_do_not_cover() -> None:
    """B's session is deleted by hand, and A, which restarts, has never seen it. Then B takes the group that it can."""
    trace, _ = search(Forgets())
    assert trace is not None
    assert len(trace) == 19
