"""Corners of the core that the simulator rarely reaches: failures of the kernel, reloads, unexpected answers."""

from __future__ import annotations

import json
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


# --- the prepare hook --------------------------------------------------------------------------------------------


def role_of(lone: Lone) -> Role:
    return lone.state.groups["web"].role


def steps_of(lone: Lone) -> list[Step]:
    return [a.step for a in lone.actions if isinstance(a, ev.Run)]


def until_it_prepares(lone: Lone) -> ev.Run:
    """Runs the node until the prepare hook is under way, which then waits for its answer."""
    lone.holds_steps = frozenset({Step.PREPARE})
    while Step.PREPARE not in steps_of(lone):
        lone.run(0.05)
    (hook,) = lone.waiting
    assert isinstance(hook, ev.Run)
    return hook


@pytest.fixture
def prepared() -> Lone:
    """A node that runs the prepare hook of web."""
    return Lone(policy=replace(Lone().policy, groups={"web": GroupPolicy(prepare=True)})).start()


def test_nothing_is_armed_before_the_prepare_hook_has_succeeded(prepared: Lone) -> None:
    hook = until_it_prepares(prepared)
    prepared.run(3 * TIMING.renew_deadline)
    assert not prepared.did(ev.Arm)
    assert role_of(prepared) is Role.PROMOTING, "the grant is renewed meanwhile"
    prepared.actions.clear()
    prepared.carry_out(hook)
    assert isinstance(prepared.actions[0], ev.Arm), "no other round is waited for"
    assert steps_of(prepared)[:2] == [Step.ANNOUNCE, Step.PROMOTE]
    assert role_of(prepared) is Role.ACTIVE


def test_a_prepare_hook_that_fails_hands_the_group_on_without_opening(prepared: Lone) -> None:
    hook = until_it_prepares(prepared)
    prepared.holds_steps = frozenset({Step.DEMOTE})
    prepared.actions.clear()
    prepared.tell(ev.Ran("web", hook.epoch, Step.PREPARE, "start-app: exit status 1: no licence"))
    prepared.run(1)
    assert steps_of(prepared) == [Step.DEMOTE], "it has begun, so it is undone"
    prepared.carry_out(prepared.waiting.pop())
    assert steps_of(prepared) == [Step.DEMOTE, Step.RESET, Step.SHUT], "the addresses go"
    assert not prepared.did(ev.Arm)
    assert ownership(prepared).session is None
    prepared.run(1)
    failure = prepared.state.groups["web"].failure
    assert failure is not None
    assert (failure.step, failure.error) == ("prepare", "start-app: exit status 1: no licence")


def test_a_group_that_is_removed_while_it_prepares_is_not_opened(prepared: Lone) -> None:
    until_it_prepares(prepared)
    prepared.holds_steps = frozenset({Step.DEMOTE})
    prepared.policy = replace(prepared.policy, groups={})
    prepared.run(1)
    assert prepared.transitions[-1].reason is Reason.REMOVED
    assert not prepared.did(ev.Arm)


def test_a_failure_is_shown_until_the_group_is_served_here(prepared: Lone) -> None:
    hook = until_it_prepares(prepared)
    prepared.holds_steps = frozenset()
    prepared.tell(ev.Ran("web", hook.epoch, Step.PREPARE, "no licence"))
    prepared.run(0.5)
    assert role_of(prepared) is Role.STANDBY
    assert prepared.state.groups["web"].failure is not None
    prepared.run(5)
    assert role_of(prepared) is Role.ACTIVE
    assert prepared.state.groups["web"].failure is None


@pytest.mark.parametrize("also", [False, True])
def test_a_demote_hook_that_fails_is_shown_unless_the_promotion_failed(prepared: Lone, also: bool) -> None:
    hook = until_it_prepares(prepared)
    prepared.holds_steps = frozenset({Step.DEMOTE})
    if also:
        prepared.tell(ev.Ran("web", hook.epoch, Step.PREPARE, "no licence"))
    else:
        prepared.tell(ev.Judged("web", healthy=False, why="app"))
    prepared.tell(ev.Ran("web", hook.epoch, Step.DEMOTE, "stop-app: exit status 3"))
    failure = prepared.state.groups["web"].failure
    assert failure is not None
    assert failure.step == ("prepare" if also else "demote")


def test_a_grant_that_is_lost_ends_the_prepare_hook(prepared: Lone) -> None:
    until_it_prepares(prepared)
    prepared.fails |= {ev.Read: "down", ev.Write: "down"}
    prepared.actions.clear()
    prepared.run(2 * TIMING.renew_deadline)
    assert steps_of(prepared) == [Step.SHUT, Step.DEMOTE]
    assert role_of(prepared) is not Role.PROMOTING


@pytest.fixture
def cleaning() -> Lone:
    """A node that serves web, which has a cleanup hook."""
    lone = Lone(policy=replace(Lone().policy, groups={"web": GroupPolicy(cleanup=True)})).start()
    lone.run(4)
    assert lone.state.groups["web"].role is Role.ACTIVE
    lone.holds_steps = frozenset({Step.CLEANUP})
    lone.actions.clear()
    return lone


def test_a_group_is_handed_on_only_after_its_cleanup_hook_has_ended(cleaning: Lone) -> None:
    cleaning.tell(ev.Judged("web", healthy=False, why="app"))
    cleaning.run(2 * TIMING.lease_duration)
    assert steps_of(cleaning) == [Step.DEMOTE, Step.RESET, Step.SHUT, Step.CLEANUP]
    assert ownership(cleaning).session == "n1-a", "it is renewed meanwhile, and nobody takes it"
    assert role_of(cleaning) is Role.DEMOTING
    cleaning.tell(ev.Ran("web", 1, Step.CLEANUP, "stop-app: exit status 3"))
    assert ownership(cleaning).session is None
    assert role_of(cleaning) is Role.FAULT
    failure = cleaning.state.groups["web"].failure
    assert failure is not None
    assert failure.step == "cleanup"


def test_a_group_that_is_lost_is_cleaned_up_after_it_is_shut(cleaning: Lone) -> None:
    cleaning.put("groups/web", owned_by("n2-x", epoch=2_000_000_000, seq=2_000_000_000))
    cleaning.run(1)
    assert [step for step in steps_of(cleaning) if step is not Step.REFRESH] == [Step.SHUT, Step.DEMOTE, Step.CLEANUP]


def test_a_daemon_that_leaves_waits_for_its_cleanup_hook(cleaning: Lone) -> None:
    cleaning.tell(ev.Stop())
    cleaning.run(3 * TIMING.lease_duration)
    assert not cleaning.did(ev.Exit)
    cleaning.carry_out(cleaning.waiting.pop())
    cleaning.run(1)
    assert cleaning.did(ev.Exit) == [ev.Exit()]


def test_an_adopted_group_is_not_prepared_again(prepared: Lone) -> None:
    prepared.run(4)
    assert role_of(prepared) is Role.ACTIVE
    saved = next(a.saved for a in reversed(prepared.actions) if isinstance(a, ev.Save))
    again = Lone(policy=prepared.policy, now=prepared.now, store=prepared.store, versions=prepared.versions)
    again.start(writer="again", saved=saved, open_groups=frozenset({"web"}), open_slot=0)
    again.run(1)
    assert again.state.groups["web"].role is Role.ACTIVE
    assert again.did(ev.Arm)
    assert Step.PREPARE not in steps_of(again)


def test_a_hook_that_is_configured_while_the_group_is_open_waits_for_the_next_promotion(active: Lone) -> None:
    active.policy = replace(active.policy, groups={"web": GroupPolicy(prepare=True), "db": GroupPolicy()})
    active.actions.clear()
    active.run(2)
    assert active.did(ev.Arm)
    assert Step.PREPARE not in steps_of(active)


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


@pytest.mark.parametrize(("fenced", "unsure"), [(False, {"sessions/n2-old"}), (True, set())])
def test_only_a_session_that_is_not_fenced_is_missed_when_it_cannot_be_written(
    node: Lone, fenced: bool, unsure: set[str]
) -> None:
    node.put("sessions/n2-old", fit(fenced=fenced))
    node.run(1)
    node.now += 24 * 3600
    write = node.wait_for_write("sessions/n2-old")
    node.refused, node.held = "sessions/n2-old", (ev.Read,)
    node.carry_out(write)
    assert node.state.store.unsure == unsure


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
    assert node.state.wishes.pause is None
    assert node.store[CLUSTER].value == b'{"format":2}'


def test_paused_it_leaves_without_handing_over(active: Lone) -> None:
    active.tell(ev.PauseAsked(paused=True))
    active.run(1)
    active.tell(ev.Stop())
    assert active.did(ev.Exit) == [ev.Exit(keep=True)]
    assert ownership(active).session == "n1-a"
    assert decode(active.store[CLUSTER].value, Cluster).paused


def test_a_pause_of_an_older_version_names_nobody_and_has_no_end(active: Lone) -> None:
    active.put(CLUSTER, b'{"format":1,"kind":"cluster","paused":true,"seq":4,"writer":"old"}')
    active.run(1)
    assert active.state.pause == Cluster(paused=True, seq=4, writer="old")
    assert active.state.pause_ends() is None
    assert active.state.pause_seen.id == ""


def pause(lasts: float = 30.0, seq: int = 1) -> Cluster:
    return Cluster(True, f"other-{seq}", lasts, "root", "n2", "kernel upgrade", 1_767_225_600, seq, "other")


def cluster(node: Lone) -> Cluster:
    return decode(node.store[CLUSTER].value, Cluster)


def test_a_pause_for_a_time_ends_by_this_node_s_own_count(active: Lone) -> None:
    active.put(CLUSTER, pause())
    active.run(1)
    began = active.state.pause_seen.since
    assert active.state.pause_ends() == began + 30.0
    active.run(28)
    assert cluster(active).paused
    active.run(2)
    assert (cluster(active).paused, cluster(active).by, cluster(active).seq) == (False, "", 2)
    assert active.state.pause_seen.id is None


def test_a_rewrite_of_the_same_pause_does_not_count_anew_and_another_pause_does(active: Lone) -> None:
    active.put(CLUSTER, pause())
    active.run(20)
    since = active.state.pause_seen.since
    active.put(CLUSTER, replace(pause(), seq=2))
    active.run(5)
    assert active.state.pause_seen.since == since
    active.put(CLUSTER, pause(seq=3))
    active.run(20)
    assert cluster(active).paused
    assert active.state.pause_seen.since > since


def test_a_node_that_does_not_reach_the_store_goes_on_counting(active: Lone) -> None:
    active.put(CLUSTER, pause())
    active.run(1)
    since = active.state.pause_seen.since
    active.fails |= {ev.Read: "down", ev.Write: "down"}
    active.run(15)
    active.fails.clear()
    active.run(5)
    assert active.state.pause_seen.since == since


def test_the_next_life_goes_on_counting(active: Lone) -> None:
    active.put(CLUSTER, pause())
    active.run(5)
    saved = next(a.saved for a in reversed(active.actions) if isinstance(a, ev.Save))
    assert (saved.pause, saved.paused_at) == ("other-1", active.state.pause_seen.since)
    again = Lone(policy=active.policy, now=active.now, store=active.store, versions=active.versions)
    again.start(writer="again", saved=saved, open_groups=frozenset({"web", "db"}), open_slot=0)
    again.run(1)
    assert again.state.pause_seen.since == saved.paused_at


def test_the_end_of_a_pause_that_another_node_wrote_first_is_no_error(active: Lone) -> None:
    active.put(CLUSTER, pause())
    active.run(1)
    active.held = (ev.Write,)
    while not (ends := [a for a in active.waiting if isinstance(a, ev.Write) and a.key == CLUSTER]):
        for write in active.waiting:
            active.carry_out(write)
        active.waiting.clear()
        active.run(0.05)
    active.held = ()
    active.put(CLUSTER, Cluster(seq=2, writer="other"))
    for write in active.waiting:
        active.carry_out(write)
    active.run(1)
    assert len(ends) == 1
    assert cluster(active).writer == "other"


# --- withdrawing -------------------------------------------------------------------------------------------------


def test_a_pause_that_was_not_sent_is_dropped_at_once(active: Lone) -> None:
    active.fails |= {ev.Read: "down", ev.Write: "down"}
    active.tell(ev.PauseAsked(True, 7))
    active.run(1)
    active.tell(ev.Withdrawn(7))
    assert active.state.wishes.pause is None
    active.fails.clear()
    active.run(5)
    assert CLUSTER not in active.store


def test_only_the_request_that_failed_is_withdrawn(active: Lone) -> None:
    active.put("groups/web", owned_by("n2-x", epoch=2_000_000_000, seq=2_000_000_000))
    active.put("sessions/n2-x", fit())
    active.run(1)
    active.held = (ev.Read, ev.Write)
    active.tell(ev.PauseAsked(True, 7))
    active.tell(ev.PauseAsked(True, 8))
    active.tell(ev.Withdrawn(7))
    assert active.state.wishes.pause is not None
    assert active.state.wishes.pause.ticket == 8
    active.tell(ev.Asked("web", "n1", 9))
    active.tell(ev.Withdrawn(6, "web"))
    active.tell(ev.Withdrawn(6, "gone"))
    ask = active.state.groups["web"].campaign.ask
    assert ask is not None
    assert (ask.ticket, ask.withdrawn) == (9, False)


def test_a_switchover_is_withdrawn_from_its_owner_at_once(active: Lone) -> None:
    active.held = (ev.Run,)
    active.tell(ev.Asked("web", "n2", 3))
    active.tell(ev.Withdrawn(3, "web"))
    assert active.state.groups["web"].campaign.ask is None
    assert active.state.groups["web"].role is Role.ACTIVE


def asked_elsewhere(node: Lone) -> None:
    """Has the node write a request for web, which n2 owns, into the record."""
    node.put("groups/web", owned_by("n2-x"))
    node.put("sessions/n2-x", fit())
    node.run(1)
    node.tell(ev.Asked("web", "n1", 3))
    assert ownership(node).wanted == Wanted("n1", 5000)


def test_a_switchover_that_was_written_is_taken_out_of_the_record(node: Lone) -> None:
    asked_elsewhere(node)
    node.tell(ev.Withdrawn(3, "web"))
    assert ownership(node).wanted is None
    assert node.state.groups["web"].campaign.ask is None


def test_a_group_that_nobody_owns_by_now_contains_no_request(node: Lone) -> None:
    asked_elsewhere(node)
    node.tell(ev.Judged("web", healthy=False, why="app"))
    node.put("groups/web", Ownership(None, None, 5000, seq=5010, writer="other"))
    node.run(1)
    before = ownership(node)
    node.tell(ev.Withdrawn(3, "web"))
    assert node.state.groups["web"].campaign.ask is None
    assert ownership(node) == before


def test_a_withdrawal_waits_until_the_record_is_known(node: Lone) -> None:
    asked_elsewhere(node)
    node.fails |= {ev.Read: "down", ev.Write: "down"}
    node.tell(ev.Withdrawn(3, "web"))
    node.run(1)
    assert node.state.groups["web"].campaign.ask is not None
    assert ownership(node).wanted is not None
    node.fails.clear()
    node.run(1)
    assert node.state.groups["web"].campaign.ask is None
    assert ownership(node).wanted is None


def test_a_request_that_is_withdrawn_while_we_take_the_group_is_forgotten(node: Lone) -> None:
    node.put("sessions/n2-x", fit())
    node.run(1)
    node.put("groups/web", Ownership(None, None, 5000, offered_to=SessionId("n1-a"), seq=5010, writer="other"))
    node.held = (ev.Write,)
    node.run(1)
    takes = [a for a in node.waiting if isinstance(a, ev.Write) and a.key == "groups/web"]
    assert takes
    node.tell(ev.Asked("web", "n2", 3))
    node.tell(ev.Withdrawn(3, "web"))
    node.held = ()
    for write in node.waiting:
        node.carry_out(write)
    node.run(1)
    assert node.state.groups["web"].role is Role.ACTIVE
    assert node.state.groups["web"].campaign.ask is None


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


# --- records that cannot be read, and listings that are not answered ----------------------------------------------


def spoiled(record: Session | Ownership, **fields: str) -> bytes:
    """Returns the record with these fields replaced by this JSON."""
    body = {name: json.dumps(value) for name, value in json.loads(encode(record)).items()} | fields
    return ("{" + ",".join(f'"{name}":{value}' for name, value in body.items()) + "}").encode()


def test_a_dead_owner_whose_lease_is_beyond_the_limit_is_watched_for_ours_and_fenced(node: Lone) -> None:
    node.put("groups/web", owned_by("n2-x"))
    node.put("sessions/n2-x", spoiled(fit(), lease_duration="1e300"))
    node.run(2.5)
    assert node.state.groups["web"].campaign.waits_for == "owner-unreadable"
    assert node.state.store.sightings["sessions/n2-x"].problem == ("lease_duration: 1e+300 seconds, allowed: 0 to 3600")
    node.run(1.5)
    assert decode(node.store["sessions/n2-x"].value, Session).fenced
    assert ownership(node).session == "n1-a"


def test_an_owner_whose_record_cannot_be_read_but_changes_is_not_fenced(node: Lone) -> None:
    node.put("groups/web", owned_by("n2-x"))
    for beat in range(20):
        node.put("sessions/n2-x", spoiled(fit(beat=beat), lease_duration="1e300"))
        node.run(0.5)
    assert node.store["sessions/n2-x"].value.endswith(b"}")
    assert ownership(node).session == "n2-x"


@pytest.mark.parametrize("number", ["9" * 4300, "9" * 5000, "1" + "0" * 400, str(2**63)])
@pytest.mark.parametrize("field", ["seq", "epoch"])
def test_a_group_whose_record_is_beyond_a_limit_is_lost_and_only_that_one(
    active: Lone, field: str, number: str
) -> None:
    active.put("groups/web", spoiled(ownership(active), **{field: number}))
    active.run(2)
    web, db = active.state.groups["web"], active.state.groups["db"]
    assert (web.role, web.arming.shut, web.campaign.waits_for) == (Role.STANDBY, True, "bad-record")
    assert db.role is Role.ACTIVE
    lost = next(t for t in active.transitions if t.after is Role.DEMOTING)
    assert (lost.group, lost.reason) == ("web", Reason.BAD_RECORD)
    assert lost.detail.startswith(f"{field}: ")
    del active.store["groups/web"]
    active.run(2 * TIMING.lease_duration)
    assert active.state.groups["web"].role is Role.ACTIVE


def test_a_key_that_is_none_of_anyvips_is_a_problem_of_its_own(active: Lone) -> None:
    active.put("elsewhere", encode(Cluster(paused=True)))
    active.run(1)
    assert active.state.store.sightings["elsewhere"].problem == "not a key that this version of anyvip knows"
    assert {group.role for group in active.state.groups.values()} == {Role.ACTIVE}


def test_who_can_write_but_not_read_gives_the_group_back_and_does_not_take_it_again(active: Lone) -> None:
    active.put("sessions/n2-x", fit())
    active.run(1)
    active.fails[ev.Read] = "throttled"
    epoch = ownership(active).epoch
    active.run(TIMING.renew_deadline + 0.5)
    given = ownership(active)
    assert (given.session, given.offered_to, given.epoch) == (None, "n2-x", epoch)
    active.run(5 * TIMING.lease_duration)
    assert ownership(active) == given
    assert active.state.groups["web"].campaign.waits_for == "store-not-read"
    active.fails.clear()
    active.run(TIMING.lease_duration)
    assert (active.state.groups["web"].role, ownership(active).epoch) == (Role.ACTIVE, epoch + 1)


def test_who_could_neither_write_nor_read_takes_the_group_again_once_it_can(active: Lone) -> None:
    active.fails |= {ev.Read: "down", ev.Write: "down"}
    epoch = ownership(active).epoch
    active.run(2 * TIMING.lease_duration)
    assert active.state.groups["web"].role is Role.STANDBY
    active.fails.clear()
    active.run(0.6)
    assert (active.state.groups["web"].role, ownership(active).epoch) == (Role.ACTIVE, epoch + 1)


def test_who_cannot_read_in_a_paused_cluster_keeps_what_it_owns_until_it_can(active: Lone) -> None:
    active.tell(ev.PauseAsked(paused=True))
    active.run(1)
    active.fails[ev.Read] = "throttled"
    active.run(2 * TIMING.lease_duration)
    assert (active.state.groups["web"].role, ownership(active).session) == (Role.PAUSED, "n1-a")
    active.fails.clear()
    active.run(1)
    assert active.state.groups["web"].role is Role.ACTIVE


@pytest.mark.parametrize("purpose", ["groups/web", "sessions/n2-x", CLUSTER])
def test_a_store_that_refuses_one_key_at_once_is_not_asked_without_end(node: Lone, purpose: str) -> None:
    node.put("groups/web", owned_by("n2-x"))
    node.put("sessions/n2-x", fit(fenced=purpose == "groups/web"))
    node.refused = purpose
    node.run(1)
    node.tell(ev.PauseAsked(paused=purpose == CLUSTER))
    node.actions.clear()
    node.run(10)
    writes = [a for a in node.did(ev.Write) if isinstance(a, ev.Write) and a.key == purpose]
    assert 1 < len(writes) <= 4 * 10 / TIMING.retry_period + 2
    assert len(node.did(ev.Read)) <= 6 * 10 / TIMING.retry_period
