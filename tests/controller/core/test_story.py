"""What the records tell of each change of owner: from whom, why, since when, and for how long nobody served."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.core import events as ev
from controller.core.events import Step
from controller.core.group import GroupState, Tale
from controller.core.machine import GroupPolicy, Reason, Role
from controller.core.records import (
    CLUSTER,
    Change,
    Cluster,
    Ending,
    Membership,
    Ownership,
    Session,
    SessionId,
    Wanted,
    decode,
)
from controller.core.story import KEPT_FOR, KEPT_SHORTLY, MOST_KEPT, clip
from tests.lab.node.lone import TIMING, Lone

UNIX = 100.0  # what the wall clock is ahead of the node's clock
OTHER = SessionId("n2-x")


@pytest.fixture
def node() -> Lone:
    return Lone().start(wall_offset=UNIX)


@pytest.fixture
def active(node: Lone) -> Lone:
    node.run(4)
    assert node.state.groups["web"].role is Role.ACTIVE
    return node


def ownership(node: Lone, group: str = "web") -> Ownership:
    return decode(node.store[f"groups/{group}"].value, Ownership)


def told(node: Lone) -> Change:
    change = ownership(node).change
    assert change is not None
    return change


def member(beat: int = 1, serving: int = 0, **more: object) -> Session:
    groups = {"web": Membership(healthy=True, serving=serving)}
    return replace(Session("n2", beat, groups=groups, seq=beat, writer="other"), **more)  # type: ignore[arg-type]


def owned_by_the_other(lone: Lone, /, **more: object) -> None:
    record = Ownership(OTHER, "n2", 5000, seq=5005, writer="other")
    lone.put("groups/web", replace(record, **more))  # type: ignore[arg-type]


def hand_over(node: Lone, change: Change | None = None) -> None:
    """Let n2 hand the group to this node, which has seen n2's record."""
    record, version = ownership(node), node.store["groups/web"].version
    node.put(
        "groups/web",
        replace(
            record, session=SessionId("n1-a"), node="n1", epoch=record.epoch + 1, seq=record.seq + 1, after=version,
            change=change or Change("n2", "switchover", asked_by="root on n3", shut=1.5),
        ),
    )  # fmt: skip
    node.tell(ev.Hint({"groups/web": node.store["groups/web"]}))


def served_by_the_other(node: Lone, seconds: float) -> float:
    """Let n2 renew and serve. Returns when this node last heard of it."""
    owned_by_the_other(node)
    last = node.now
    for beat in range(1, 1 + round(seconds / 0.6)):
        node.put(f"sessions/{OTHER}", member(beat, serving=5000))
        node.run(0.6)
        last = node.state.store.served["web"]
    return last


def gives_it_up(node: Lone, event: ev.Event) -> Change:
    """Let a fit node be there, and this one give the group up."""
    node.put(f"sessions/{OTHER}", member())
    node.run(1)
    node.tell(event)
    return told(node)


# --- taking ------------------------------------------------------------------------------------------------------


def test_of_a_new_group_nothing_is_told(active: Lone) -> None:
    """Nobody had it before. Where 200 groups start, their records stay as short as they were."""
    writes = len([a for a in active.did(ev.Write) if isinstance(a, ev.Write) and a.key == "groups/web"])
    active.run(5)
    assert ownership(active).change is None
    assert len([a for a in active.did(ev.Write) if isinstance(a, ev.Write) and a.key == "groups/web"]) == writes


def test_who_takes_from_a_silent_node_tells_since_when_it_is_silent_and_for_how_long_nobody_served(node: Lone) -> None:
    last = served_by_the_other(node, 2)
    before = node.now
    while node.state.groups["web"].role is not Role.ACTIVE:
        node.run(0.05)
    served = node.now
    taken = told(node)
    assert (taken.was, taken.why, taken.detail, taken.taken_as) == ("n2", "owner-fenced", "silent", "owner-fenced")
    assert taken.told_by == "n1"
    assert taken.since == pytest.approx(UNIX + last, abs=0.002)
    assert UNIX + before < taken.taken <= UNIX + served
    ended = decode(node.store[f"sessions/{OTHER}"].value, Session).ended
    assert ended is not None
    assert (ended.by, ended.why, ended.since) == ("n1", "silent", taken.since)
    node.run(TIMING.retry_period + 0.1)
    later = told(node)
    assert replace(later, served=0.0, gap=0.0, stages={}) == taken
    assert UNIX + before < later.served <= UNIX + served
    assert later.gap == pytest.approx(later.served - taken.since, abs=0.002)
    assert set(later.stages) == {"bind", "announce", "promote"}


@pytest.mark.parametrize("ended", [None, Ending("n3", "silent", UNIX + 5, UNIX + 2)])
def test_what_another_node_saw_of_the_end_is_told_by_it(node: Lone, ended: Ending | None) -> None:
    """An older version fences without a word."""
    owned_by_the_other(node)
    node.put(f"sessions/{OTHER}", member(fenced=True, ended=ended))
    node.run(1)
    change = told(node)
    assert (change.was, change.why) == ("n2", "owner-fenced")
    assert (change.since, change.told_by) == ((UNIX + 2, "n3") if ended else (0.0, ""))


def test_a_missing_session_and_an_earlier_life_are_told_as_what_they_are(node: Lone) -> None:
    owned_by_the_other(node)
    node.run(5)
    assert told(node).detail == "missing"
    past = Lone()
    past.put("groups/web", Ownership(SessionId("n1-0"), "n1", 5000, seq=5005))
    past.put("sessions/n1-0", Session("n1", 5, seq=5))
    past.start(saved=ev.Saved(SessionId("n1-0"), 5, "another boot", "n1"))
    past.run(1)
    assert (told(past).was, told(past).detail) == ("n1", "earlier-life")


@pytest.mark.parametrize("change", [None, Change("n2", "unhealthy", "app: refused", since=3.5, told_by="n2")])
def test_who_takes_a_free_group_keeps_what_the_last_owner_told(node: Lone, change: Change | None) -> None:
    owned_by_the_other(node, session=None, node=None, offered_to=SessionId("n1-a"), change=change)
    node.run(1)
    known = told(node)
    assert (known.was, known.why, known.detail) == (
        ("n2", "unhealthy", "app: refused") if change else ("", "group-was-free", "")
    )
    assert known.taken_as == "offered"


def test_a_handover_is_told_by_who_hands_over_and_ended_by_who_serves(node: Lone) -> None:
    last = served_by_the_other(node, 2)
    hand_over(node)
    assert node.state.groups["web"].role is Role.ACTIVE
    served = node.now
    node.run(TIMING.retry_period + 0.1)
    change = told(node)
    assert (change.was, change.why, change.asked_by, change.shut) == ("n2", "switchover", "root on n3", 1.5)
    assert UNIX + last < change.served <= UNIX + served
    assert change.gap == pytest.approx(change.served - UNIX - last, abs=0.002)
    assert ownership(node).after is None, "the handover has been accepted"


def test_a_handover_that_is_rewritten_keeps_its_story(node: Lone) -> None:
    served_by_the_other(node, 1)
    story = Change("n2", "stopping", shut=1.5)
    owned_by_the_other(node, session=SessionId("n1-a"), node="n1", epoch=4000, seq=5006, change=story)
    node.run(1)
    assert node.state.groups["web"].right.taken_as is Reason.REGAINED
    assert (told(node).was, told(node).why, told(node).taken_as) == ("n2", "stopping", "regained")


def test_who_lost_the_grant_and_takes_the_group_again_tells_why_and_for_how_long(active: Lone) -> None:
    active.fails |= {ev.Read: "down", ev.Write: "down"}
    ends = active.state.groups["web"].right.expires_at
    active.run(TIMING.renew_deadline + 0.5)
    active.fails.clear()
    active.run(2)
    change = told(active)
    assert (change.was, change.why, change.taken_as) == ("n1", "grant-expired", "regained")
    assert ends is not None
    assert change.since == pytest.approx(UNIX + ends, abs=0.5)
    assert change.gap == pytest.approx(change.served - change.since, abs=0.002)


def test_who_lost_the_grant_before_it_served_does_not_know_since_when_nobody_serves(node: Lone) -> None:
    owned_by_the_other(node, session=None, node=None)
    node.held = (ev.Run,)
    node.run(1)
    assert node.state.groups["web"].role is Role.PROMOTING
    node.fails |= {ev.Read: "down", ev.Write: "down"}
    node.run(TIMING.renew_deadline + 0.5)
    node.held = ()
    for order in list(node.waiting):
        node.carry_out(order)
    node.fails.clear()
    node.run(2)
    assert (told(node).why, told(node).since) == ("grant-expired", 0.0)


def adopt(*, guard_was_open: bool, change: Change | None = None) -> Lone:
    """Restart a daemon whose earlier life owned the group."""
    lone, earlier = Lone(), SessionId("n1-0")
    lone.put("groups/web", Ownership(earlier, "n1", 5000, seq=5005, change=change))
    lone.put(f"sessions/{earlier}", Session("n1", 5, groups={"web": Membership(healthy=True, serving=5000)}, seq=5))
    open_groups = frozenset({"web"} if guard_was_open else ())
    lone.start(saved=ev.Saved(earlier, 5, "boot", "n1"), open_groups=open_groups, wall_offset=UNIX)
    lone.run(1)
    assert lone.state.groups["web"].role is Role.ACTIVE
    return lone


def test_who_takes_up_its_own_group_without_knowing_why_it_was_shut_says_so() -> None:
    change = told(adopt(guard_was_open=False))
    assert (change.was, change.why, change.taken_as) == ("n1", "regained", "regained")


# --- giving up ---------------------------------------------------------------------------------------------------


def test_who_gives_up_tells_why_and_since_when_it_does_not_serve(active: Lone) -> None:
    at = active.now
    change = gives_it_up(active, ev.Judged("web", healthy=False, why="app:\n connection refused"))
    assert ownership(active).session == OTHER
    assert (change.was, change.why, change.detail) == ("n1", "unhealthy", "app: connection refused")
    assert change.told_by == "n1"
    assert UNIX + at < change.since <= change.shut
    assert set(change.stages) == {"demote", "reset", "shut"}


def test_who_is_asked_tells_by_whom(active: Lone) -> None:
    change = gives_it_up(active, ev.Asked("web", "n2", by="root on n1"))
    assert (change.why, change.asked_by) == ("switchover", "root on n1")


def test_who_is_asked_by_way_of_the_store_tells_by_whom(active: Lone) -> None:
    active.put(f"sessions/{OTHER}", member())
    record = ownership(active)
    wanted = Wanted("n2", record.epoch, "root on n2")
    active.put("groups/web", replace(record, wanted=wanted, seq=record.seq + 1))
    active.run(1)
    assert (told(active).why, told(active).asked_by) == ("switchover", "root on n2")


def test_who_asks_by_way_of_the_store_says_who(node: Lone) -> None:
    served_by_the_other(node, 1)
    node.tell(ev.Asked("web", "n1", by="root on n1"))
    assert ownership(node).wanted == Wanted("n1", 5000, "root on n1")


def test_who_never_served_tells_since_when_nobody_does(node: Lone) -> None:
    served_by_the_other(node, 1)
    node.fails[ev.Run] = "no such interface"
    hand_over(node, Change("n2", "stopping", since=7.5, told_by="n2", shut=8.5))
    node.fails.clear()
    node.run(1)
    change = told(node)
    assert (change.was, change.why, change.detail) == ("n1", "step-failed", "no such interface")
    assert (change.since, change.told_by) == (7.5, "n2")


@pytest.mark.parametrize(
    ("why", "priority"), [("unhealthy", 100), ("step-failed", 100), ("stopping", 100), ("priority-zero", 0)]
)
def test_what_is_given_back_unopened_says_why(why: str, priority: int) -> None:
    node = Lone()
    node.policy = replace(node.policy, groups={"web": GroupPolicy(priority)})
    node.start(wall_offset=UNIX)
    served_by_the_other(node, 1)
    match why:
        case "unhealthy":
            node.tell(ev.Judged("web", healthy=False, why="app"))
        case "stopping":
            node.held = (ev.Write,)
            node.run(1)  # a renewal is under way, so it cannot leave yet
            node.tell(ev.Stop())
        case "step-failed":
            node.held = (ev.Run,)
            hand_over(node)
            node.held = ()
            node.tell(ev.Ran("web", ownership(node).epoch, Step.BIND, "no such interface"))
            owned_by_the_other(node, epoch=5009, seq=5030)
            node.put(f"sessions/{OTHER}", member(9, serving=5009))
            node.run(0.5)
    node.held = ()
    hand_over(node)
    node.run(0.5)
    assert (told(node).was, told(node).why) == ("n1", why)


def test_a_group_that_is_no_longer_configured_is_given_back_with_the_reason(active: Lone) -> None:
    active.put(f"sessions/{OTHER}", member())
    active.run(1)
    active.policy = replace(active.policy, groups={"db": GroupPolicy()})
    active.run(1)
    assert (told(active).was, told(active).why) == ("n1", "removed-from-configuration")
    record = ownership(active)
    active.put(
        "groups/web", replace(record, session=SessionId("n1-a"), node="n1", epoch=record.epoch + 1, seq=record.seq + 1)
    )
    active.run(1)
    assert (ownership(active).session, told(active).why) == (None, "removed-from-configuration")


def test_who_leaves_in_order_says_so_in_its_session(active: Lone) -> None:
    active.tell(ev.Stop())
    active.run(1)
    ended = decode(active.store["sessions/n1-a"].value, Session).ended
    assert ended is not None
    assert (ended.by, ended.why, ended.since) == ("n1", "left", 0.0)
    assert [t.reason for t in active.transitions if t.after is Role.INIT][-1] is Reason.STOPPING


# --- the story's end ---------------------------------------------------------------------------------------------


@pytest.fixture
def taken(node: Lone) -> Lone:
    """This node serves what n2 handed to it, and has told so."""
    served_by_the_other(node, 1)
    hand_over(node)
    node.run(1)
    assert told(node).served
    return node


def age(lone: Lone, seconds: float) -> None:
    """Make it longer ago that this node began to serve."""
    group = lone.state.groups["web"]
    assert group.tale.kept_since is not None
    tale = replace(group.tale, kept_since=group.tale.kept_since - seconds)
    lone.state = lone.state.with_group("web", replace(group, tale=tale))


def test_an_hour_later_the_record_is_as_short_as_before(taken: Lone) -> None:
    age(taken, KEPT_FOR - 5)
    taken.run(1)
    assert told(taken).served
    age(taken, 5)
    taken.run(2)
    assert ownership(taken).change is None
    assert taken.state.groups["web"].tale.kept_since is None


def test_of_many_stories_each_is_kept_for_a_minute(taken: Lone) -> None:
    """Two hundred stories would make every listing two thirds longer."""
    age(taken, KEPT_SHORTLY)
    taken.run(1)
    assert told(taken).served
    others = {f"g{n}": GroupState(role=Role.STANDBY, tale=Tale(kept_since=taken.now)) for n in range(MOST_KEPT)}
    taken.policy = replace(taken.policy, groups={**taken.policy.groups, **dict.fromkeys(others, GroupPolicy())})
    taken.state = replace(taken.state, groups={**taken.state.groups, **others})
    taken.run(1)
    assert ownership(taken).change is None


def test_who_adopted_takes_the_story_out_an_hour_later() -> None:
    adopted = adopt(guard_was_open=True, change=Change("n2", "stopping", served=5.5))
    adopted.run(1)
    assert told(adopted).served == 5.5
    age(adopted, KEPT_FOR)
    adopted.run(1)
    assert ownership(adopted).change is None


def test_nothing_is_told_while_another_node_asks_for_the_group(node: Lone) -> None:
    """The telling would refuse the wish, or be refused by it."""
    served_by_the_other(node, 1)
    node.held = (ev.Write,)
    hand_over(node)
    record = ownership(node)
    node.put("groups/web", replace(record, wanted=Wanted("n9", record.epoch + 1), seq=record.seq + 1))
    node.tell(ev.Hint())
    node.held = ()
    for write in list(node.waiting):
        node.carry_out(write)
    node.run(1)
    assert (ownership(node).wanted, told(node).served) == (Wanted("n9", record.epoch + 1), 0.0)


def test_nothing_is_told_while_the_cluster_is_paused(node: Lone) -> None:
    served_by_the_other(node, 1)
    node.put(CLUSTER, Cluster(paused=True, seq=1))
    node.run(0.6)
    hand_over(node)
    node.run(1)
    assert node.state.groups["web"].role is Role.ACTIVE
    assert not told(node).served


def test_what_was_not_told_for_want_of_an_answer_is_told_later(node: Lone) -> None:
    served_by_the_other(node, 1)
    node.fails[ev.Write] = "down"
    hand_over(node)
    node.run(1)
    assert not told(node).served
    node.fails.clear()
    node.run(1)
    assert told(node).served


@pytest.mark.parametrize("text", ["a" * 400, "one\n two"])
def test_a_detail_is_one_line_of_limited_length(text: str) -> None:
    assert len(clip(text)) <= 160
    assert "\n" not in clip(text)
