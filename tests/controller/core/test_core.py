"""Corners of the core that the simulator rarely reaches: failures of the kernel, reloads, unexpected answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.core import events as ev
from controller.core.events import Saved, Step
from controller.core.machine import GroupPolicy, Phase, Reason, Role, decide, initial, observe, serving_until
from controller.core.records import CLUSTER, Cluster, Membership, Ownership, Session, SessionId, Wanted, decode, encode
from controller.stores.base import Entry, Version
from tests.lab.node.lone import TIMING, Lone

PREEMPTED = "n1, whose priority is higher"


@pytest.fixture
def node() -> Lone:
    return Lone().start()


@pytest.fixture
def active(node: Lone) -> Lone:
    node.run(4)
    assert node.state.groups["web"].role is Role.ACTIVE
    return node


def ownership(node: Lone, group: str = "web") -> Ownership:
    return decode(node.store[f"groups/{group}"].value, Ownership)


def owned_by(session: str, **more: object) -> Ownership:
    return replace(Ownership(SessionId(session), "n2", 5000, seq=5005, writer="other"), **more)  # type: ignore[arg-type]


def fit(node: str = "n2", **more: object) -> Session:
    groups = {"web": Membership(healthy=True), "db": Membership(healthy=True)}
    return replace(Session(node, 1, groups=groups, seq=1, writer="other"), **more)  # type: ignore[arg-type]


def test_before_it_is_started_it_decides_nothing() -> None:
    lone = Lone()
    decision = decide(initial(lone.policy), lone.now, lone.policy)
    assert (decision.actions, decision.wake_at) == ((), None)


def test_serves_only_what_it_is_active_for(active: Lone) -> None:
    assert serving_until(active.state, "web") is not None
    assert serving_until(active.state, "no such group") is None
    active.tell(ev.Judged("web", healthy=False, why="app"))
    assert serving_until(active.state, "web") is None


def test_what_is_left_behind_is_cleared_until_it_is_gone() -> None:
    lone = Lone(fails={ev.Clear: "busy"})
    lone.start().run(2)
    assert len(lone.did(ev.Clear)) > 1
    assert not lone.did(ev.Write)
    lone.fails.clear()
    lone.run(1)
    assert lone.state.phase is Phase.MEMBER


def test_a_timer_that_cannot_be_started_sends_no_renewal(node: Lone) -> None:
    node.fails[ev.StartTimer] = "netlink"
    beats = node.state.session.beat
    node.run(2)
    assert node.state.session.beat <= beats + 1
    node.fails.clear()
    node.run(4)
    assert node.state.groups["web"].role is Role.ACTIVE


def test_an_arming_that_fails_gives_the_group_up(active: Lone) -> None:
    active.fails[ev.Arm] = "netlink"
    active.run(1)
    assert active.state.groups["web"].role is not Role.ACTIVE
    assert any(t.reason is Reason.STEP_FAILED for t in active.transitions)


def test_a_timer_of_an_abandoned_round_is_not_waited_for(node: Lone) -> None:
    node.run(1)
    state = node.state
    node.tell(ev.TimerStarted(0, node.now))
    assert node.state.rounds.renewed == state.rounds.renewed


def test_answers_nobody_asked_for_change_nothing(active: Lone) -> None:
    before = active.state.store.sightings
    active.tell(ev.Listed(10**6, active.now, {}))
    active.tell(ev.Failed(10**6, "late"))
    active.tell(ev.Armed(0, frozenset({"gone"})))
    active.tell(ev.Ran("gone", 1, Step.BIND))
    active.tell(ev.Ran("web", 1, Step.BIND, "superseded"))
    active.tell(ev.Judged("gone", healthy=True))
    active.tell(ev.Drifted("gone", "address"))
    active.tell(ev.Asked("gone", None))
    assert active.state.store.sightings == before
    assert active.state.groups["web"].role is Role.ACTIVE


def test_a_shut_that_fails_is_tried_again_before_anything_is_released(active: Lone) -> None:
    active.put("sessions/n2-x", fit())
    active.run(1)
    active.fails[ev.Run] = "netlink"
    active.tell(ev.Asked("web", "n2"))
    active.run(0.5)
    assert ownership(active).session == "n1-a"
    active.fails.clear()
    active.run(0.5)
    assert ownership(active).offered_to == "n2-x"


def test_a_refresh_that_fails_is_tried_again(active: Lone) -> None:
    active.fails[ev.Run] = "no such device"
    active.run(1)
    assert active.state.groups["web"].role is Role.ACTIVE
    assert active.state.groups["web"].steps.error == "no such device"
    active.fails.clear()
    active.run(1.5)
    assert active.state.groups["web"].steps.error == ""


def test_drift_binds_and_announces_again(active: Lone) -> None:
    active.actions.clear()
    active.tell(ev.Drifted("web", "address gone"))
    steps = [a.step for a in active.did(ev.Run) if isinstance(a, ev.Run) and a.group == "web"]
    assert steps[:2] == [Step.REFRESH, Step.ANNOUNCE]


def test_the_guard_put_back_leads_to_a_round_at_once(active: Lone) -> None:
    active.run(0.1)
    active.actions.clear()
    active.tell(ev.GuardLost())
    assert isinstance(active.actions[0], ev.StartTimer)
    assert active.did(ev.Arm)


@pytest.mark.parametrize("hooked", [True, False])
def test_a_step_of_the_promotion_that_fails_gives_the_group_back(hooked: bool) -> None:
    lone = Lone(held=(ev.Run,)).start()
    while not (run := next((a for a in lone.waiting if isinstance(a, ev.Run) and a.step is Step.BIND), None)):
        lone.run(0.05)
    lone.waiting.remove(run)
    lone.held = ()
    if hooked:
        lone.held = (ev.Run,)
        lone.carry_out(run)
        for step in (Step.ANNOUNCE, Step.PROMOTE):
            run = next(a for a in lone.waiting if isinstance(a, ev.Run) and a.step is step and a.group == run.group)
            lone.held = (ev.Run,) if step is Step.ANNOUNCE else ()
            if step is Step.ANNOUNCE:
                lone.carry_out(run)
    lone.tell(ev.Ran(run.group, run.epoch, run.step, "no such program"))
    steps = [a.step for a in lone.actions if isinstance(a, ev.Run) and a.group == run.group]
    assert (Step.DEMOTE in steps) is hooked
    assert ownership(lone, run.group).session is None


def test_a_group_taken_out_of_the_configuration_is_given_back_and_forgotten(active: Lone) -> None:
    active.policy = replace(active.policy, groups={"db": GroupPolicy()})
    active.run(1)
    assert "web" not in active.state.groups
    assert ownership(active).session is None
    assert active.transitions[-2].reason is Reason.REMOVED
    assert active.state.groups["db"].role is Role.ACTIVE


def test_a_group_that_is_new_is_shut_before_it_is_campaigned_for(active: Lone) -> None:
    active.policy = replace(active.policy, groups={**active.policy.groups, "new": GroupPolicy()})
    active.actions.clear()
    active.tell(ev.Tick())
    first = active.did(ev.Run)[0]
    assert isinstance(first, ev.Run)
    assert (first.group, first.step) == ("new", Step.SHUT)


def test_priority_zero_is_never_active(active: Lone) -> None:
    active.policy = replace(active.policy, groups={"web": GroupPolicy(priority=0), "db": GroupPolicy()})
    active.run(8)
    assert active.state.groups["web"].role is Role.FAULT
    assert active.transitions[-1].reason is Reason.NEVER_ACTIVE
    assert ownership(active).session is None


def test_a_record_that_cannot_be_read_is_left_alone(node: Lone) -> None:
    node.put("groups/web", b'{"format":2}')
    node.run(8)
    assert node.store["groups/web"].value == b'{"format":2}'
    assert node.state.groups["web"].campaign.waits_for == "bad-record"


def test_a_session_that_cannot_be_read_is_fenced_like_a_silent_one(node: Lone) -> None:
    node.put("groups/web", owned_by("n2-x"))
    node.put("sessions/n2-x", b"rubbish")
    node.run(4)
    assert decode(node.store["sessions/n2-x"].value, Session).fenced
    assert ownership(node).session == "n1-a"


def test_a_session_that_is_missing_is_entombed_before_its_group_is_taken(node: Lone) -> None:
    node.put("groups/web", owned_by("n2-x"))
    node.run(2.5)
    assert "sessions/n2-x" not in node.store
    node.run(2)
    assert decode(node.store["sessions/n2-x"].value, Session).fenced
    assert ownership(node).session == "n1-a"


def test_a_node_with_a_longer_lease_is_watched_for_as_long(node: Lone) -> None:
    node.put("groups/web", owned_by("n2-x"))
    node.put("sessions/n2-x", fit(lease_duration=10.0))
    node.run(9.5)
    assert not decode(node.store["sessions/n2-x"].value, Session).fenced
    node.run(2)
    assert ownership(node).session == "n1-a"


def test_one_fence_does_for_all_groups_of_a_dead_node(node: Lone) -> None:
    for group in ("web", "db"):
        node.put(f"groups/{group}", owned_by("n2-x"))
    node.put("sessions/n2-x", fit())
    node.run(2.9)
    node.actions.clear()
    node.run(1)
    assert [a.key for a in node.did(ev.Write) if isinstance(a, ev.Write)].count("sessions/n2-x") == 1
    assert {ownership(node, group).session for group in ("web", "db")} == {"n1-a"}


def test_what_nobody_names_for_a_day_is_fenced_and_a_day_later_deleted(node: Lone) -> None:
    node.put("sessions/n2-old", fit())
    node.run(1)
    for fenced in (False, True):
        assert decode(node.store["sessions/n2-old"].value, Session).fenced is fenced
        node.now += 24 * 3600
        node.run(1)
    assert "sessions/n2-old" not in node.store


@pytest.mark.parametrize("fenced", [False, True])
def test_a_session_that_a_group_names_stays_for_ever(node: Lone, fenced: bool) -> None:
    node.put("sessions/n2-named", fit(fenced=fenced))
    node.put("groups/foreign", owned_by("n2-named"))
    before = node.store["sessions/n2-named"]
    node.run(1)
    for _ in range(2):
        node.now += 24 * 3600
        node.run(1)
    assert node.store["sessions/n2-named"] == before


def test_a_store_that_takes_no_writes_is_not_asked_without_end() -> None:
    lone = Lone(fails={ev.Write: "no space"})
    lone.start().run(10)
    assert len(lone.did(ev.Write)) <= 10 / TIMING.retry_period + 2
    assert len(lone.state.requests.completed) <= 2


def adopted(node: Lone, *open_groups: str) -> Lone:
    """Returns the next life of this node, which adopts. Only `web` is configured in it."""
    saved = Saved(SessionId("n1-a"), node.state.session.beat, "boot", "n1")
    policy = replace(node.policy, groups={"web": GroupPolicy()})
    heir = Lone(policy=policy, now=node.now, store=node.store, versions=node.versions)
    return heir.start(session=SessionId("n1-b"), saved=saved, open_groups=frozenset(open_groups), open_slot=0)


def test_an_adopted_session_gives_back_what_is_configured_no_more(active: Lone) -> None:
    heir = adopted(active, "web", "db").run(1)
    assert heir.state.session.id == "n1-a"
    assert heir.state.groups["web"].role is Role.ACTIVE
    assert ownership(heir, "db").session is None


def test_a_verdict_that_comes_before_the_start_is_kept(active: Lone) -> None:
    """A check might answer while the kernel is asked which groups are open."""
    saved = Saved(SessionId("n1-a"), active.state.session.beat, "boot", "n1")
    heir = Lone(now=active.now, store=active.store, versions=active.versions)
    for name in heir.policy.groups:
        heir.tell(ev.Judged(name, healthy=False, why="app"))
    heir.tell(ev.Started(SessionId("n1-b"), "writer", saved))
    assert {(group.healthy, group.why) for group in heir.state.groups.values()} == {(False, "app")}


def test_what_another_took_meanwhile_is_not_adopted_but_shut(active: Lone) -> None:
    active.put("groups/web", owned_by("n2-x", epoch=ownership(active).epoch + 1, seq=ownership(active).seq + 1))
    heir = adopted(active, "web").run(1)
    steps = [a.step for a in heir.did(ev.Run) if isinstance(a, ev.Run) and a.group == "web"]
    assert steps[:2] == [Step.SHUT, Step.DEMOTE]
    assert heir.transitions[0].reason is Reason.TAKEN
    assert ownership(heir).session == "n2-x"


def test_who_no_longer_outranks_the_owner_does_not_preempt() -> None:
    lone = Lone()
    lone.policy = replace(lone.policy, groups={"web": GroupPolicy(priority=200, preempt=True, preempt_delay=2.0)})
    lone.start()
    lone.put("groups/web", owned_by("n2-x"))
    for beat in range(8):
        priority = 100 if beat < 2 else 250
        member = {"web": Membership(priority=priority, healthy=True, serving=5)}
        lone.put("sessions/n2-x", fit(beat=beat + 2, seq=beat + 2, groups=member))
        lone.run(1)
    assert ownership(lone).wanted is None
    assert lone.state.groups["web"].campaign.preempt_since is None


def preempting(priority: int) -> Lone:
    """Returns a node that is allowed to preempt `web` and sees that n2-x owns it."""
    lone = Lone()
    lone.policy = replace(lone.policy, groups={"web": GroupPolicy(priority=priority, preempt=True)})
    lone.start()
    lone.put("groups/web", owned_by("n2-x"))
    return lone


def serve_elsewhere(lone: Lone, seconds: int) -> None:
    """Lets the owner of `web`, with priority 100, live and serve it for this time."""
    for _ in range(2 * seconds):
        member = {"web": Membership(priority=100, healthy=True, serving=5)}
        lone.put("sessions/n2-x", fit(beat=lone.versions, seq=lone.versions, groups=member))
        lone.run(0.5)


@pytest.mark.parametrize(("priority", "wanted"), [(99, None), (100, None), (101, Wanted("n1", 5000, PREEMPTED))])
def test_only_a_node_of_higher_priority_preempts(priority: int, wanted: Wanted | None) -> None:
    lone = preempting(priority)
    serve_elsewhere(lone, 3)
    assert ownership(lone).wanted == wanted


def test_who_has_just_failed_does_not_preempt_for_a_lease() -> None:
    lone = preempting(200)
    lone.tell(ev.Judged("web", healthy=False))
    serve_elsewhere(lone, 1)
    lone.tell(ev.Judged("web", healthy=True))
    lone.held = (ev.Run,)
    lone.tell(handed_to_us(lone))
    lone.held = ()
    lone.tell(ev.Ran("web", ownership(lone).epoch, Step.BIND, "no such interface"))
    assert lone.state.groups["web"].role is Role.STANDBY
    lone.put("groups/web", replace(ownership(lone), session=SessionId("n2-x"), seq=ownership(lone).seq + 1))
    serve_elsewhere(lone, 2)
    assert ownership(lone).wanted is None
    serve_elsewhere(lone, 2)
    assert ownership(lone).wanted == Wanted("n1", ownership(lone).epoch, PREEMPTED)


def test_events_before_one_decision_concern_the_groups_of_all_of_them(active: Lone) -> None:
    state = active.state
    for group in ("web", "db"):
        state = observe(state, ev.Judged(group, healthy=False), active.now, active.policy)
    assert [t.group for t in decide(state, active.now, active.policy).transitions] == ["web", "db"]


def test_it_leaves_though_adoption_was_never_confirmed(active: Lone) -> None:
    heir = Lone(policy=active.policy, now=active.now, fails={ev.Read: "down", ev.Write: "down"})
    saved = Saved(SessionId("n1-a"), active.state.session.beat, "boot", "n1")
    heir.start(session=SessionId("n1-b"), saved=saved, open_groups=frozenset({"web"}), open_slot=0)
    heir.tell(ev.Stop())
    heir.run(2 * TIMING.lease_duration + 1)
    assert heir.did(ev.Exit) == [ev.Exit()]


def test_it_leaves_though_the_kernel_never_says_that_it_is_shut(active: Lone) -> None:
    active.held = (ev.Run,)
    active.tell(ev.Stop())
    demoting = [a for a in active.waiting if isinstance(a, ev.Run) and a.step is Step.DEMOTE]
    active.run(2 * TIMING.lease_duration + 1)
    assert not active.did(ev.Exit)
    active.held = ()
    active.fails[ev.Run] = "netlink"
    for run in demoting:
        active.carry_out(run)
    assert active.did(ev.Exit)


def test_a_wish_for_a_node_that_is_not_fit_is_dropped_from_the_record(active: Lone) -> None:
    record = ownership(active)
    active.put("groups/web", replace(record, wanted=Wanted("n2", record.epoch), seq=record.seq + 1))
    active.run(1.5)
    assert ownership(active).wanted is None
    assert active.state.groups["web"].role is Role.ACTIVE


def test_what_is_offered_back_at_once_is_taken_at_once(active: Lone) -> None:
    active.put("sessions/n2-x", fit())
    active.run(1)
    active.tell(ev.Asked("web", "n2"))
    active.run(0.3)
    given = ownership(active)
    assert (given.session, given.node, given.offered_to) == ("n2-x", "n2", None)
    free = replace(given, session=None, node=None, offered_to=SessionId("n1-a"), seq=given.seq + 2)
    active.put("groups/web", free)
    active.tell(ev.Hint())
    assert active.state.groups["web"].role is Role.ACTIVE


def test_what_is_handed_over_names_its_new_owner_under_an_epoch_of_its_own(active: Lone) -> None:
    before = active.store["groups/web"]
    active.put("sessions/n2-x", fit())
    active.run(1)
    active.tell(ev.Asked("web", "n2"))
    given = ownership(active)
    assert (given.session, given.epoch, given.after) == (
        "n2-x",
        decode(before.value, Ownership).epoch + 1,
        before.version,
    )


def test_who_was_not_heard_of_for_half_a_lease_is_offered_it_only(active: Lone) -> None:
    active.put("sessions/n2-x", fit())
    active.run(0.6 * TIMING.lease_duration)
    active.tell(ev.Asked("web", "n2"))
    given = ownership(active)
    assert (given.session, given.offered_to, given.after) == (None, "n2-x", None)


def test_who_was_fenced_meanwhile_is_handed_nothing(active: Lone) -> None:
    active.put("sessions/n2-x", fit())
    active.run(1)
    active.held = (ev.Run,)
    active.tell(ev.Asked("web", "n2"))
    active.put("sessions/n2-x", fit(fenced=True, seq=2))
    active.tell(ev.Hint())
    active.held = ()
    for order in active.waiting:
        active.carry_out(order)
    assert ownership(active).session is None


def handed_to_us(node: Lone, **more: object) -> ev.Hint:
    """Makes the record, in which a listing showed another owner, name us. Returns the hint."""
    before = node.store["groups/web"]
    record = decode(before.value, Ownership)
    given = replace(record, session=SessionId("n1-a"), epoch=record.epoch + 1, seq=record.seq + 1, after=before.version)
    node.put("groups/web", replace(given, **more))  # type: ignore[arg-type]
    return ev.Hint({"groups/web": node.store["groups/web"]})


@pytest.fixture
def standby(node: Lone) -> Lone:
    node.put("sessions/n2-x", fit())
    node.put("groups/web", owned_by("n2-x"))
    node.run(1)
    assert node.state.groups["web"].role is Role.STANDBY
    node.actions.clear()
    return node


def test_what_is_handed_to_us_is_opened_without_a_write_or_a_reading(standby: Lone) -> None:
    standby.held = (ev.Read, ev.Write)
    standby.tell(handed_to_us(standby))
    assert [t.reason for t in standby.transitions][-2:] == [Reason.HANDED, Reason.READY]
    assert ownership(standby).writer == "other"
    assert serving_until(standby.state, "web") is not None


def test_what_is_handed_to_us_without_a_hint_is_opened_without_a_write(standby: Lone) -> None:
    handed_to_us(standby)
    standby.tell(ev.Hint())
    assert standby.state.groups["web"].role is Role.ACTIVE
    assert ownership(standby).writer == "other"


def test_a_handover_that_does_not_follow_on_what_is_known_is_no_handover(standby: Lone) -> None:
    standby.tell(handed_to_us(standby, after="another"))
    assert standby.state.groups["web"].right.taken_as is Reason.REGAINED
    assert ownership(standby).writer == "writer"


def test_what_is_handed_to_us_under_an_epoch_below_one_that_was_seen_is_not_taken_up_as_it_is(standby: Lone) -> None:
    standby.tell(handed_to_us(standby, epoch=4000))
    assert Reason.HANDED not in [t.reason for t in standby.transitions]


def test_a_handover_that_follows_on_a_hint_is_no_handover(standby: Lone) -> None:
    record = ownership(standby)
    standby.held = (ev.Read,)
    standby.put("groups/web", replace(record, wanted=Wanted("n1", record.epoch), seq=record.seq + 1))
    standby.tell(ev.Hint({"groups/web": standby.store["groups/web"]}))
    standby.tell(handed_to_us(standby))
    assert standby.state.groups["web"].right.taken_as is Reason.REGAINED


def test_a_handover_before_the_last_renewal_is_looked_at_again(standby: Lone) -> None:
    standby.held = (ev.Read,)  # the last sighting is older than the timer of the next renewal
    standby.run(TIMING.retry_period + 0.1)
    standby.tell(handed_to_us(standby))
    assert serving_until(standby.state, "web") is None
    standby.held = ()
    for listing in list(standby.waiting):
        standby.carry_out(listing)
    assert standby.state.groups["web"].role is Role.ACTIVE


def test_who_has_just_failed_takes_nothing_that_is_thrown_back(standby: Lone) -> None:
    standby.put("sessions/n2-x", fit(seq=2))
    standby.held = (ev.Run,)
    standby.tell(handed_to_us(standby))
    standby.held = ()
    standby.tell(ev.Ran("web", ownership(standby).epoch, Step.BIND, "no such interface"))
    assert ownership(standby).session == "n2-x"  # n2 fails, too, and hands it back
    standby.tell(handed_to_us(standby))
    standby.run(TIMING.lease_duration / 2)
    assert (ownership(standby).session, ownership(standby).offered_to) == (None, "n2-x")
    standby.run(TIMING.lease_duration)
    assert standby.state.groups["web"].role is Role.ACTIVE


def test_a_handover_is_taken_up_once(standby: Lone) -> None:
    standby.tell(handed_to_us(standby))
    epoch = ownership(standby).epoch
    standby.held = (ev.Read, ev.Write)
    standby.run(TIMING.renew_deadline + 0.1)  # its grant ends
    standby.held = ()
    for held in list(standby.waiting):
        standby.carry_out(held)
    standby.run(1)
    assert standby.state.groups["web"].role is Role.ACTIVE
    assert ownership(standby).epoch == epoch + 1


@pytest.mark.parametrize("event", [ev.Judged("web", healthy=False, why="app"), ev.Stop()])
def test_what_is_won_too_late_is_given_back_without_being_opened(node: Lone, event: ev.Event) -> None:
    node.run(2.9)
    node.held = (ev.Write,)
    while not (take := [a for a in node.waiting if isinstance(a, ev.Write) and a.key == "groups/web"]):
        node.run(0.05)
    node.tell(event)
    node.held = ()
    node.actions.clear()
    node.carry_out(take[0])
    assert ownership(node).session is None
    assert not any("web" in a.groups for a in node.did(ev.Arm) if isinstance(a, ev.Arm))


def test_what_a_hint_tells_of_a_free_group_is_acted_on_at_once(node: Lone) -> None:
    node.put("sessions/n2-x", fit())
    node.put("groups/web", owned_by("n2-x"))
    node.run(1)
    node.put("groups/web", Ownership(None, None, 5000, offered_to=SessionId("n1-a"), seq=5006, writer="other"))
    node.held = (ev.Read,)
    node.tell(ev.Hint({"groups/web": node.store["groups/web"], "groups/foreign": node.store["groups/web"]}))
    assert ownership(node).session == "n1-a"


@pytest.mark.parametrize("seq", [5005, 5004])
def test_a_hint_that_is_old_says_nothing(node: Lone, seq: int) -> None:
    node.put("sessions/n2-x", fit())
    node.put("groups/web", owned_by("n2-x"))
    node.run(1)
    sightings = node.state.store.sightings
    node.held = (ev.Read,)
    old = Entry(encode(Ownership(None, None, 4000, seq=seq, writer="other")), Version("0"))
    node.tell(ev.Hint({"groups/web": old, "groups/db": Entry(b"rubbish", Version("0"))}))
    assert node.state.store.sightings == sightings


def test_a_hint_about_what_is_ours_takes_nothing_away(active: Lone) -> None:
    active.held = (ev.Read,)
    record = ownership(active)
    other = Entry(encode(replace(record, session=SessionId("n2-x"), seq=record.seq + 1)), Version("0"))
    active.tell(ev.Hint({"groups/web": other}))
    assert active.state.groups["web"].role is Role.ACTIVE


def test_a_listing_from_before_a_hint_does_not_take_the_store_back(node: Lone) -> None:
    node.put("sessions/n2-x", fit())
    node.put("groups/web", owned_by("n2-x"))
    node.run(1)
    before = dict(node.store)
    node.held = (ev.Read,)
    node.tell(ev.Hint())
    sent_at = node.now
    node.now += 0.01
    node.put("groups/web", owned_by("n2-y", epoch=5006, seq=5006))
    node.tell(ev.Hint({"groups/web": node.store["groups/web"]}))
    (read,) = node.waiting
    assert isinstance(read, ev.Read)
    node.tell(ev.Listed(read.request, sent_at, before))
    assert node.state.session.over is None
    assert node.state.store.sightings["groups/web"].record == owned_by("n2-y", epoch=5006, seq=5006)


def test_a_switchover_of_a_group_that_nobody_owns_is_dropped(node: Lone) -> None:
    node.put("groups/web", Ownership(None, None, 5000, offered_to=SessionId("n2-x"), seq=5005, writer="other"))
    node.put("sessions/n2-x", fit())
    node.run(0.3)
    node.tell(ev.Asked("web", "n2"))
    assert node.state.groups["web"].campaign.ask is None


def test_a_switchover_asked_while_paused_is_written_when_the_pause_ends(node: Lone) -> None:
    node.put("sessions/n2-x", fit())
    node.put("groups/web", owned_by("n2-x"))
    node.put(CLUSTER, Cluster(paused=True, seq=1))
    node.run(1)
    node.tell(ev.Asked("web", "n1"))
    node.run(1)
    assert ownership(node).wanted is None
    node.put(CLUSTER, Cluster(paused=False, seq=2))
    node.run(1)
    assert ownership(node).wanted == Wanted("n1", 5000)


def test_its_own_record_is_fenced_only_when_its_last_renewal_is_answered(node: Lone) -> None:
    node.held = (ev.Write,)
    node.run(1)
    (beat,) = node.waiting
    node.tell(ev.Stop())
    assert not node.did(ev.Exit)
    node.held = ()
    node.carry_out(beat)
    node.run(1)
    assert decode(node.store["sessions/n1-a"].value, Session).fenced
    assert node.did(ev.Exit) == [ev.Exit()]


def test_a_wish_of_an_earlier_epoch_means_nothing(active: Lone) -> None:
    active.put("sessions/n2-x", fit())
    record = ownership(active)
    active.put("groups/web", replace(record, wanted=Wanted("n2", record.epoch - 1), seq=record.seq + 1))
    active.run(1.5)
    assert active.state.groups["web"].role is Role.ACTIVE


def test_a_pause_of_a_newer_format_is_not_overwritten(node: Lone) -> None:
    node.put(CLUSTER, b'{"format":2}')
    node.run(1)
    node.tell(ev.PauseAsked(paused=True))
    assert node.state.wishes.paused is None
    assert node.store[CLUSTER].value == b'{"format":2}'


def test_paused_it_leaves_without_handing_over(active: Lone) -> None:
    active.tell(ev.PauseAsked(paused=True))
    active.run(1)
    active.tell(ev.Stop())
    assert active.did(ev.Exit) == [ev.Exit(keep=True)]
    assert ownership(active).session == "n1-a"
    assert decode(active.store[CLUSTER].value, Cluster).paused


def test_it_leaves_when_the_store_is_away(active: Lone) -> None:
    active.fails |= {ev.Read: "down", ev.Write: "down"}
    active.tell(ev.Stop())
    active.tell(ev.Stop())
    active.run(7)
    assert active.did(ev.Exit) == [ev.Exit()]
    assert decide(active.state, active.now, active.policy).actions == ()


def test_asked_to_leave_before_it_joined_it_leaves() -> None:
    lone = Lone(held=(ev.Clear,))
    lone.start()
    lone.tell(ev.Stop())
    lone.held = ()
    lone.carry_out(lone.waiting.pop())
    lone.run(7)
    assert lone.did(ev.Exit) == [ev.Exit()]
    assert not lone.did(ev.Write)
