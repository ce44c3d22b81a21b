"""Removes rules of the core that are not methods of `Rules`, one at a time. The test that each names must catch it."""

from __future__ import annotations

from tests.mutants.planting import Plant

_CORE_TESTS = "tests/controller/core/test_core.py"
_TROUBLE_TESTS = "tests/controller/core/test_trouble.py"
_CONCERNED = "tests/controller/core/test_concerned.py"
_CAMPAIGN = "controller.core.campaign"
_OBSERVATION = "controller.core.observation"
_FIND = "    match event:\n        case ev.Ran() | ev.Judged() | ev.Asked() | ev.Drifted():\n"

# --- who may take what -------------------------------------------------------------------------------------------

EQUALS_PREEMPT = Plant(
    "equalsPreempt",
    "only a higher priority outranks the owner",
    "two equal nodes with preemption take the VIP from each other forever",
    _CAMPAIGN,
    "member.priority < priority",
    "member.priority <= priority",
    f"{_CORE_TESTS}::test_only_a_node_of_higher_priority_preempts",
)
FAILED_PREEMPTS = Plant(
    "failedPreempts",
    "a node whose promotion has just failed does not preempt for a lease",
    "the VIP moves back and forth between a node that cannot serve it and one that can",
    _CAMPAIGN,
    "    barred = campaign.failed and _sits_out(group, turn.now, turn.policy.rules)\n",
    "    barred = False\n",
    f"{_CORE_TESTS}::test_who_has_just_failed_does_not_preempt_for_a_lease",
)
COLLECTS_NAMED = Plant(
    "collectsNamed",
    "a session that a group still names is not collected",
    "the fence of an owner is deleted, and its session does not learn that it is over",
    "controller.core.membership",
    " and sid not in named",
    "",
    f"{_CORE_TESTS}::test_a_session_that_a_group_names_stays_for_ever",
)
TAKES_UNREAD = Plant(
    "takesUnread",
    "a node whose grant has ended takes nothing before a listing is answered",
    "a node that can write but not read loses the VIP and takes it again with each grant, and no other node gets it",
    _CAMPAIGN,
    "    elif turn.groups[name].campaign.heard == turn.state.requests.heard:\n",
    "    elif False:\n",
    f"{_CORE_TESTS}::test_who_can_write_but_not_read_gives_the_group_back_and_does_not_take_it_again",
)
KEEPS_UNREAD = Plant(
    "keepsUnread",
    "a node that can write but not read gives its groups back",
    "the VIP has no owner for as long as the node cannot read, because it cannot be fenced",
    _CAMPAIGN,
    "    if mine and turn.state.store.unread and not turn.state.paused:\n",
    "    if False:\n",
    f"{_CORE_TESTS}::test_who_can_write_but_not_read_gives_the_group_back_and_does_not_take_it_again",
)
STOPS_ALL = Plant(
    "stopsAll",
    "an error in one group's decision is that group's",
    "the daemon ends, and all groups of the node with it",
    "controller.core.machine",
    "            trouble.contain(turn, name, error, _move)\n",
    "            raise\n",
    f"{_TROUBLE_TESTS}::test_a_group_whose_decision_fails_is_shut_and_given_back_and_the_others_serve[False]",
)
KEEPS_DECIDED = Plant(
    "keepsDecided",
    "what a decision had ordered before it failed is undone",
    "half a decision is carried out",
    "controller.core.machine",
    "            undo()\n",
    "",
    f"{_TROUBLE_TESTS}::test_a_group_whose_decision_fails_is_shut_and_given_back_and_the_others_serve[True]",
)
SPINS = Plant(
    "spins",
    "a group whose decision failed is left alone for a lease",
    "the node does nothing but fail, as fast as it can",
    "controller.core.trouble",
    "    return trouble.helpless and at_rest\n",
    "    return False\n",
    f"{_TROUBLE_TESTS}::test_a_standby_whose_decision_fails_is_unfit_and_does_not_spin",
)
LONGEST_LEASE_EVER = Plant(
    "longestLeaseEver",
    "a record says no lease that the configuration does not allow",
    "a dead session whose record says a lease of 1e300 s is never fenced",
    "controller.core.records",
    "    if field_name in _LONGEST and not 0",
    "    if False and not 0",
    f"{_CORE_TESTS}::test_a_dead_owner_whose_lease_is_beyond_the_limit_is_watched_for_ours_and_fenced",
)
ANY_NUMBER = Plant(
    "anyNumber",
    "an integer in a record has 64 bits at most",
    "a number of 4,300 digits is read, and its record cannot be written again",
    "controller.core.bounds",
    "        case int() if not _SMALLEST <= value <= _LARGEST:\n",
    "        case int() if False:\n",
    "tests/controller/core/test_records.py::test_what_is_beyond_a_limit_says_which_field_and_what_is_allowed",
)
ASKS_ENDLESSLY = Plant(
    "asksEndlessly",
    "a write that fails twice in a row is tried again after a pause",
    "a store that refuses one key at once is asked as fast as it answers",
    "controller.core.replies",
    "max(requests.read_from, now + pause) if key in lately else requests.read_from",
    "requests.read_from",
    f"{_CORE_TESTS}::test_a_store_that_refuses_one_key_at_once_is_not_asked_without_end[groups/web]",
)
FORGETS_VERDICT = Plant(
    "forgetsVerdict",
    "a verdict of the checks that arrives before `Started` is kept",
    "a node that adopts does not know that it is fit, and the group has no owner until a verdict changes",
    _OBSERVATION,
    "    known = state.groups.get(name, GroupState())",
    "    known = GroupState()",
    f"{_CORE_TESTS}::test_a_verdict_that_comes_before_the_start_is_kept",
)

_PREPARE_STORY = "tests/simulation/test_scripts.py::test_what_is_seen_is_what_the_story_says[prepare.txt]"

ARMS_UNPREPARED = Plant(
    "armsUnprepared",
    "the guard stays shut until the prepare hook has succeeded",
    "clients reach a service that does not listen yet, and their connections are refused",
    "controller.core.grant",
    "    return unopened or group.must_prepare(policy)\n",
    "    return unopened\n",
    _PREPARE_STORY,
)
ARMS_GIVEN_UP = Plant(
    "armsGivenUp",
    "a guard that was never open stays shut while the group is given up",
    "the group is removed while its prepare hook runs, and clients reach its port during the demote hook",
    "controller.core.grant",
    "    unopened = group.role is Role.DEMOTING and not group.arming.opened\n",
    "    unopened = False\n",
    f"{_CORE_TESTS}::test_a_group_that_is_removed_while_it_prepares_is_not_opened",
)
LEAVES_BOUND = Plant(
    "leavesBound",
    "addresses that were bound are removed, also if the guard was never open",
    "the node hands the group on with its addresses, and without a guard two nodes answer for them",
    "controller.core.machine",
    "            turn.put_group(name, arming=replace(group.arming, bound=True))\n",
    "",
    f"{_CORE_TESTS}::test_a_prepare_hook_that_fails_hands_the_group_on_without_opening",
)

RELEASES_UNCLEANED = Plant(
    "releasesUncleaned",
    "a group is handed on only after its cleanup hook has ended",
    "two nodes use what the hook gives up, such as a mounted disk",
    "controller.core.machine",
    " and not turn.groups[name].steps.cleans:\n",
    ":\n",
    f"{_CORE_TESTS}::test_a_group_is_handed_on_only_after_its_cleanup_hook_has_ended",
)

# --- what was reported as failed does not happen later -----------------------------------------------------------

_WITHDRAWN_STORY = "tests/simulation/test_scripts.py::test_what_is_seen_is_what_the_story_says[withdrawn.txt]"

KEEPS_PAUSE_WISH = Plant(
    "keepsPauseWish",
    "a pause that failed before anything was sent is forgotten",
    "a node that is cut off reports that the pause failed, and pauses the cluster when it is back",
    _OBSERVATION,
    " if wish.sent else None\n",
    "\n",
    f"{_CORE_TESTS}::test_a_pause_that_was_not_sent_is_dropped_at_once",
)
LATE_PAUSE = Plant(
    "latePause",
    "a pause that failed after it was sent is made impossible",
    "its late write lands, and the cluster is paused long after the operator was told that it is not",
    "controller.core.membership",
    "    new = record if wish.withdrawn else wish.record\n",
    "    new = wish.record\n",
    _WITHDRAWN_STORY,
)
KEEPS_REQUEST = Plant(
    "keepsRequest",
    "a switchover that failed is taken out of the group's record",
    "the owner is back, and hands the group over long after the operator was told that it does not",
    _CAMPAIGN,
    "    wanted = None if record.writer == state.life.writer else record.wanted",
    "    wanted = record.wanted",
    _WITHDRAWN_STORY,
)
COUNTS_ANEW = Plant(
    "countsAnew",
    "a restarted daemon goes on counting the pause",
    "a pause for an hour lasts for as long as daemons are restarted",
    _OBSERVATION,
    "    return PauseSeen(saved.pause, saved.paused_at) if saved.pause else PauseSeen()\n",
    "    return PauseSeen()\n",
    f"{_CORE_TESTS}::test_the_next_life_goes_on_counting",
)

# --- deciding the concerned groups is deciding all ---------------------------------------------------------------


def _unheard(event: str, caught_by: str = _CONCERNED) -> Plant:
    return Plant(
        f"unheard{event}",
        f"{event} makes the groups that it concerns decide",
        "a group acts on it only when something else happens, or never",
        _OBSERVATION,
        _FIND,
        _FIND.replace("match event:\n", f"match event:\n        case ev.{event}():\n            return frozenset()\n"),
        caught_by,
    )


_EVENTS = ("Ran", "Judged", "Asked", "Armed", "Wrote", "Hint", "Listed", "Refused", "Unsure", "Stop")

MISSES_ITS_TIME = Plant(
    "missesItsTime",
    "a group whose time has come decides",
    "the end of a grant is noticed only at the next event",
    "controller.core.turn",
    "if name in due or name in agenda.concerned]",
    "if name in agenda.concerned]",
    _CONCERNED,
)
OLD_POLICY = Plant(
    "oldPolicy",
    "all groups decide after a reload",
    "a group that is no longer configured is kept until an event concerns it",
    "controller.core.turn",
    " or agenda.decided_by is not self.policy",
    "",
    _CONCERNED,
)
TAKES_LATE = Plant(
    "takesLate",
    "a group wakes at the moment when it can be taken",
    "the group is taken only when something else happens",
    _CAMPAIGN,
    "    turn.wake(judgement.at)\n    if judgement.verdict is Verdict.FENCE:",
    "    if judgement.verdict is Verdict.FENCE:",
    _CONCERNED,
)
ENDS_LATE = Plant(
    "endsLate",
    "a group wakes at the moment when its grant ends",
    "the node relies on an ended grant until something else happens",
    "controller.core.grant",
    "    if turn.due_or_wake(ends):\n",
    "    if turn.now >= ends:\n",
    _CONCERNED,
)

PLANTS = (
    EQUALS_PREEMPT,
    FAILED_PREEMPTS,
    COLLECTS_NAMED,
    TAKES_UNREAD,
    KEEPS_UNREAD,
    STOPS_ALL,
    KEEPS_DECIDED,
    SPINS,
    LONGEST_LEASE_EVER,
    ANY_NUMBER,
    ASKS_ENDLESSLY,
    FORGETS_VERDICT,
    ARMS_UNPREPARED,
    ARMS_GIVEN_UP,
    LEAVES_BOUND,
    RELEASES_UNCLEANED,
    KEEPS_PAUSE_WISH,
    LATE_PAUSE,
    KEEPS_REQUEST,
    COUNTS_ANEW,
    *map(_unheard, _EVENTS),
    _unheard("Drifted", f"{_CORE_TESTS}::test_drift_binds_and_announces_again"),
    MISSES_ITS_TIME,
    OLD_POLICY,
    TAKES_LATE,
    ENDS_LATE,
)
