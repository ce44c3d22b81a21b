"""Rules of the core that no `Rules` method stands for, removed one at a time: each is caught by the test that it names."""

from __future__ import annotations

from tests.mutants.planting import Plant

_CORE_TESTS = "tests/controller/core/test_core.py"
_CONCERNED = "tests/controller/core/test_concerned.py"
_CAMPAIGN = "controller.core.campaign"
_OBSERVATION = "controller.core.observation"
_FIND = "    match event:\n        case ev.Ran() | ev.Judged() | ev.Asked() | ev.Drifted():\n"

# --- who may take what -------------------------------------------------------------------------------------------

EQUALS_PREEMPT = Plant(
    "equalsPreempt",
    "only a higher priority outranks the owner",
    "two equal nodes with preemption take the VIP from each other for ever",
    _CAMPAIGN,
    "member.priority < priority",
    "member.priority <= priority",
    f"{_CORE_TESTS}::test_only_a_node_of_higher_priority_preempts",
)
FAILED_PREEMPTS = Plant(
    "failedPreempts",
    "a node whose promotion has just failed does not preempt for a lease",
    "the VIP goes to and fro between a node that cannot serve it and the one that can",
    _CAMPAIGN,
    "    barred = campaign.failed and _sits_out(group, turn.now, turn.policy.rules)\n",
    "    barred = False\n",
    f"{_CORE_TESTS}::test_who_has_just_failed_does_not_preempt_for_a_lease",
)
COLLECTS_NAMED = Plant(
    "collectsNamed",
    "a session that a group still names is not collected",
    "the fence of an owner is deleted, and nothing tells its revived session that it is over",
    "controller.core.membership",
    " and sid not in named",
    "",
    f"{_CORE_TESTS}::test_a_session_that_a_group_names_stays_for_ever",
)
FORGETS_VERDICT = Plant(
    "forgetsVerdict",
    "a verdict that comes before the start is kept",
    "a node that adopts does not know that it is fit, and the group has no owner until its checks change",
    _OBSERVATION,
    "    known = state.groups.get(name, GroupState())",
    "    known = GroupState()",
    f"{_CORE_TESTS}::test_a_verdict_that_comes_before_the_start_is_kept",
)

# --- deciding the concerned groups is deciding all ---------------------------------------------------------------


def _unheard(event: str, caught_by: str = _CONCERNED) -> Plant:
    return Plant(
        f"unheard{event}",
        f"{event} concerns the groups that it is about",
        "a group decides on it when something else happens, or never",
        _OBSERVATION,
        _FIND,
        _FIND.replace("match event:\n", f"match event:\n        case ev.{event}():\n            return frozenset()\n"),
        caught_by,
    )


_EVENTS = ("Ran", "Judged", "Asked", "Armed", "Wrote", "Hint", "Listed", "Refused", "Unsure", "Stop")

MISSES_ITS_TIME = Plant(
    "missesItsTime",
    "a group whose time has come decides",
    "a grant that ends is noticed at the next event",
    "controller.core.turn",
    "if name in due or name in agenda.concerned]",
    "if name in agenda.concerned]",
    _CONCERNED,
)
OLD_POLICY = Plant(
    "oldPolicy",
    "after a reload all groups decide",
    "a group that is configured no longer is kept until something happens to it",
    "controller.core.turn",
    " or agenda.decided_by is not self.policy",
    "",
    _CONCERNED,
)
TAKES_LATE = Plant(
    "takesLate",
    "a group wakes when it may be taken",
    "it is taken when something else happens",
    _CAMPAIGN,
    "    turn.wake(judgement.at)\n",
    "",
    _CONCERNED,
)
ENDS_LATE = Plant(
    "endsLate",
    "a group wakes when its grant ends",
    "the node believes in its grant until something else happens",
    "controller.core.grant",
    "    if turn.due_or_wake(ends):\n",
    "    if turn.now >= ends:\n",
    _CONCERNED,
)

PLANTS = (
    EQUALS_PREEMPT,
    FAILED_PREEMPTS,
    COLLECTS_NAMED,
    FORGETS_VERDICT,
    *map(_unheard, _EVENTS),
    _unheard("Drifted", f"{_CORE_TESTS}::test_drift_binds_and_announces_again"),
    MISSES_ITS_TIME,
    OLD_POLICY,
    TAKES_LATE,
    ENDS_LATE,
)
