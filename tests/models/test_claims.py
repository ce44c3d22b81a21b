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


class ClearLasts(ClaimRules):
    def clear_lasts(self) -> bool:
        return True


class TrustsOld(ClaimRules):
    def record_counts(self, *, anew: bool) -> bool:
        return True


class DropsClaim(ClaimRules):
    def may_change_claim(self, opened: str) -> bool:
        return True


class ServesRenamed(ClaimRules):
    def serves_renamed(self) -> bool:
        return True


class Forgets(ClaimRules):
    def forgets(self) -> bool:
        return True


# Each with the length of the shortest trace, and the edits, deletions and writes without an answer that it takes.
WEAKER = {
    NoClear: (5, (1, 1, 0)),
    EarlyLook: (13, (1, 1, 0)),
    DropsClaim: (15, (1, 1, 0)),
    MissingIgnored: (16, (1, 1, 0)),
    ForgetsSession: (14, (1, 1, 0)),
    ClearLasts: (18, (1, 1, 0)),
    ServesRenamed: (14, (1, 1, 0)),
    TrustsOld: (19, (1, 0, 2)),
}
NAMES = {
    NoClear: "needs_clear",
    EarlyLook: "look_counts",
    DropsClaim: "keeps_claim",
    MissingIgnored: "missing_blocks",
    ForgetsSession: "remembers_session",
    ClearLasts: "clear_lasts",
    TrustsOld: "record_counts",
}


@pytest.mark.parametrize(("budget", "states"), [((1, 1, 0), 36_127), ((1, 0, 2), 75_111)])
def test_no_order_of_steps_breaks_the_rules(budget: tuple[int, int, int], states: int) -> None:
    assert search(ClaimRules(), *budget) == (None, states)


@pytest.mark.parametrize("weaker", WEAKER)
def test_without_a_rule_there_is_a_trace(weaker: type[ClaimRules]) -> None:
    length, budget = WEAKER[weaker]
    trace, _ = search(weaker(), *budget)
    assert trace is not None
    assert len(trace) == length
    assert {step[0] for step in trace if " opens as " in step} == {"A", "B"}


@pytest.mark.parametrize(("weaker", "name"), NAMES.items())
def test_the_rule_says_how_long_its_trace_is(weaker: type[ClaimRules], name: str) -> None:
    said = re.search(r"\((\d+)\)", vars(Rules)[name].__doc__)
    assert said is not None
    assert int(said[1]) == WEAKER[weaker][0]


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
