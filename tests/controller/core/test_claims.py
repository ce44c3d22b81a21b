"""Claims: what a session says of the addresses that it serves or could serve, and what follows from others' claims."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.core import claims
from controller.core import events as ev
from controller.core.claims import digest, find_blockers, is_shut, list_in_full, look, may_use
from controller.core.events import Saved, Step
from controller.core.group import Claim
from controller.core.machine import GroupPolicy, Policy, Reason, Role, State
from controller.core.records import Membership, Ownership, Session, SessionId, Stake, decode
from tests.lab.node.lone import TIMING, Lone

X, Y, Z = "10.77.0.100", "10.77.0.101", "10.77.0.102"


def moving(*tokens: str) -> GroupPolicy:
    return GroupPolicy(claims=frozenset(tokens), uses=frozenset(tokens))


def lone(**groups: GroupPolicy) -> Lone:
    return Lone(policy=Policy("n1", "boot", TIMING, groups or {"web": moving(X)}))


def member(*tokens: str, stake: Stake = Stake.HOLDS, full: bool = True) -> Membership:
    named = frozenset(tokens)
    return Membership(healthy=True, stake=stake, digest=digest(named), claims=tuple(sorted(named)) if full else None)


def other(**groups: Membership) -> Session:
    return Session("n2", 1, groups=groups, seq=1, writer="other")


def reconfigure(node: Lone, **groups: GroupPolicy) -> None:
    node.policy = replace(node.policy, groups=groups)


def said(node: Lone, group: str = "web") -> Membership:
    assert node.state.session.id is not None
    return decode(node.store[node.state.session.key].value, Session).groups[group]


def claim(node: Lone, group: str = "web") -> Claim:
    return node.state.groups[group].claim


def owner(node: Lone, group: str = "web") -> SessionId | None:
    return decode(node.store[f"groups/{group}"].value, Ownership).session


def with_claim(state: State, name: str = "web", /, saying: frozenset[str] = frozenset(), **changes: object) -> State:
    """Returns the state in which the group's claim is changed, and our last record said `saying` for it."""
    group = state.groups[name]
    changed = state.with_group(name, replace(group, claim=replace(group.claim, **changes)))  # type: ignore[arg-type]
    return replace(changed, session=replace(changed.session, saying={**changed.session.saying, name: saying}))


@pytest.fixture
def node() -> Lone:
    return lone().start()


@pytest.fixture
def active(node: Lone) -> Lone:
    node.run(4)
    assert node.state.groups["web"].role is Role.ACTIVE
    return node


# --- what is said -------------------------------------------------------------------------------------------------


def test_the_digest_names_a_set() -> None:
    assert digest(frozenset({X, Y})) == digest(frozenset({Y, X}))
    assert len({digest(frozenset(some)) for some in ((), (X,), (Y,), (X, Y), (f"{X}\n{Y}x",))}) == 5
    assert digest(frozenset({X})).isascii()


def test_a_claim_is_said_and_then_looked_at_before_anything_is_taken() -> None:
    node = lone()
    node.held = (ev.Read,)
    node.start().run(0.1)
    assert (said(node).stake, said(node).digest) == (Stake.ASKS, digest(frozenset({X})))
    assert claim(node).said == {X}
    assert not claim(node).clear
    node.held = ()
    for listing in list(node.waiting):
        node.carry_out(listing)
    node.run(0.1)
    assert claim(node).clear == {X}
    assert said(node).stake is Stake.HOLDS


def test_who_serves_says_so_and_claims_on(active: Lone) -> None:
    assert said(active).serving > 0
    assert (said(active).stake, said(active).digest) == (Stake.HOLDS, digest(frozenset({X})))


def test_a_group_that_moves_nothing_is_in_nobody_s_way() -> None:
    node = lone(web=GroupPolicy())
    node.put("sessions/n2-x", other(www=member(X, full=False)))
    node.start().run(4)
    assert node.state.groups["web"].role is Role.ACTIVE


def test_a_new_session_has_claimed_nothing_yet(active: Lone) -> None:
    del active.store["sessions/n1-a"]
    while active.state.session.id == "n1-a":
        active.held = (ev.Write, ev.Read)
        active.run(0.05)
        active.held = ()
        for held in list(active.waiting):
            active.waiting.remove(held)
            active.carry_out(held)
    active.run(4)
    assert active.state.session.id == "n1-minted1"
    assert said(active).stake is Stake.HOLDS


def test_the_tokens_are_listed_only_where_another_session_has_them_otherwise(node: Lone) -> None:
    same, differs, older = member(X), member(X, Y), Membership(healthy=True)
    for theirs, expected in (
        ({"web": same}, False),
        ({"web": differs}, True),
        ({"web": older}, False),
        ({"web": member(X, full=False)}, False),
        ({}, True),
    ):
        node.put("sessions/n2-x", other(**theirs))
        node.tell(ev.Hint())
        assert list_in_full(node.state, ["web"]) == ({"web"} if expected else set())
    node.run(1)
    assert said(node).claims == (X,)
    node.put("sessions/n2-x", replace(other(), fenced=True))
    node.put("groups/n2", b"rubbish")
    node.run(1)
    assert said(node).claims is None


# --- who is in the way --------------------------------------------------------------------------------------------

UNREADABLE = "the record of session n2-x is missing or cannot be read"


@pytest.mark.parametrize(
    ("record", "blocked"),
    [
        (other(www=member(X)), f"n2 has {X} in group www"),
        (other(www=member(X, full=False)), "n2 has not said which addresses group www has"),
        (other(www=Membership()), "n2 has not said which addresses group www has"),  # an older version
        (b"rubbish", UNREADABLE),
        (other(www=member(Y)), ""),
        (other(www=member()), ""),
        (other(web=member(X)), ""),
        (other(web=Membership()), ""),
        (other(www=member(X, stake=Stake.WAITS)), ""),
        (replace(other(www=member(X)), fenced=True), ""),
    ],
    ids=lambda value: value or "nobody" if isinstance(value, str) else "",
)
def test_who_is_in_the_way(record: Session | bytes, blocked: str) -> None:
    node = lone()
    node.put("sessions/n2-x", record)
    node.start().run(1)
    assert claim(node).blocked == blocked
    if blocked:
        assert (said(node).stake, said(node).digest) == (Stake.WAITS, digest(frozenset()))


@pytest.mark.parametrize("full", [False, True])
def test_what_an_older_version_serves_is_read_from_our_own_configuration(full: bool) -> None:
    """It says nothing of addresses, and is taken to have what we have in a group of that name."""
    node = lone(web=moving(X), db=moving(X if full else Y)).start().run(1)
    node.put("sessions/n2-x", other(db=Membership(healthy=True, serving=7)))
    node.run(1)
    expected = [f"n2 has {X} in group db"] if full else []
    found = find_blockers(node.state, node.policy, "web", frozenset({X}))
    assert [blocker.what for blocker in found if blocker.session] == expected


def test_a_digest_is_read_by_what_the_group_has_in_our_file(node: Lone) -> None:
    node.tell(ev.Judged("web", healthy=False))
    node.put("sessions/n2-x", other(web=member(X, full=False)))
    node.run(1)
    assert claim(node).raised == set()
    assert [b.what for b in find_blockers(node.state, node.policy, "www", frozenset({X}))] == [
        f"n2 has {X} in group web"
    ]


def test_a_digest_is_read_by_what_the_group_had_here_before(active: Lone) -> None:
    """web is gone from our file, but what it had is claimed until it is shut."""
    active.put("sessions/n2-x", other(web=member(X, full=False)))
    active.held = (ev.Run,)
    reconfigure(active, www=moving(X))
    active.tell(ev.Hint())
    what = {blocker.what for blocker in find_blockers(active.state, active.policy, "www", frozenset({X}))}
    assert what == {f"this node still has {X} in group web", f"n2 has {X} in group web"}


def test_a_session_whose_record_has_gone_is_in_the_way_until_it_is_fenced(node: Lone) -> None:
    reconfigure(node, www=moving(Y))
    node.put("sessions/n2-x", other(web=member(X)))
    node.run(3.5)
    node.put("sessions/n2-x", replace(other(web=member(X)), beat=2, seq=2))
    node.run(1)
    del node.store["sessions/n2-x"]
    reconfigure(node, www=moving(X))
    node.tell(ev.Judged("www", healthy=True))
    node.run(1)
    assert claim(node, "www").blocked == UNREADABLE
    node.run(3)
    assert decode(node.store["sessions/n2-x"].value, Session).fenced
    assert node.state.groups["www"].role is Role.ACTIVE


def test_our_own_earlier_sessions_are_in_nobody_s_way(node: Lone) -> None:
    node.put("sessions/n1-old", replace(other(www=member(X)), node="n1"))
    life = replace(node.state.life, past=frozenset({SessionId("n1-old")}))
    node.state = replace(node.state, life=life)
    node.run(1)
    assert claim(node).blocked == ""


def test_another_group_of_this_node_is_in_the_way_until_it_is_shut(active: Lone) -> None:
    active.held = (ev.Run,)
    reconfigure(active, www=moving(X))
    active.run(1)
    active.tell(ev.Judged("www", healthy=True))
    assert claim(active, "www").blocked == f"this node still has {X} in group web"
    assert (said(active, "web").priority, said(active, "web").digest) == (0, digest(frozenset({X})))
    active.held = ()
    for order in list(active.waiting):
        active.carry_out(order)
    active.run(4)
    assert "web" not in active.state.groups
    assert active.state.groups["www"].role is Role.ACTIVE


def test_of_two_that_ask_the_lower_id_goes_on_and_the_other_waits() -> None:
    one, two = lone(web=moving(X)), lone(www=moving(X))
    two.policy = replace(two.policy, node="n2")
    two.store, two.versions = one.store, 10**6
    for each in (one, two):
        each.held = (ev.Read,)
    one.start().run(0.1)
    two.start(session=SessionId("n2-a")).run(0.1)
    for each in (one, two):
        (asking,) = [group.claim for group in each.state.groups.values()]
        assert (asking.raised, asking.clear) == (frozenset({X}), frozenset())
        each.held = ()
        for held in list(each.waiting):
            each.carry_out(held)
    for _ in range(10):
        one.run(0.5)
        two.run(0.5)
    assert one.state.groups["web"].role is Role.ACTIVE
    assert (claim(two, "www").raised, claim(two, "www").blocked) == (frozenset(), f"n1 has {X} in group web")


# --- what a listing and a write show ------------------------------------------------------------------------------


def test_only_a_listing_sent_after_the_claim_had_landed_clears_it(node: Lone) -> None:
    node.run(1)
    state = with_claim(node.state, said_at=50.0, clear=frozenset(), saying=frozenset({X}))
    early, late = (look(state, at, lambda _: True, node.policy) for at in (49.9, 50.0))
    assert early.groups["web"].claim.clear == set()
    assert late.groups["web"].claim.clear == {X}


def test_a_listing_that_does_not_count_for_a_session_clears_nothing(node: Lone) -> None:
    node.put("sessions/n2-x", other())
    node.run(1)
    state = with_claim(node.state, clear=frozenset(), saying=frozenset({X}))
    assert look(state, node.now, lambda key: key != "sessions/n2-x", node.policy) == state


def test_a_session_that_could_not_be_written_blocks_until_a_listing_counts_for_it(node: Lone) -> None:
    node.run(1)
    state = with_claim(node.state, clear=frozenset(), saying=frozenset({X}))
    unsure = replace(state, store=replace(state.store, unsure=frozenset({"sessions/n2-x"})))
    assert look(state, node.now, lambda _: True, node.policy) != state
    assert look(unsure, node.now, lambda _: True, node.policy) == unsure


def test_a_session_that_could_not_be_fenced_is_missed_when_it_has_gone(node: Lone) -> None:
    node.put("sessions/n2-x", other(web=member(X)))
    node.put("groups/web", Ownership(SessionId("n2-x"), "n2", 5000, seq=5005, writer="other"))
    fence = node.wait_for_write("sessions/n2-x")
    del node.store["sessions/n2-x"]
    node.held = (ev.Read,)
    node.carry_out(fence)
    assert node.state.store.unsure == {"sessions/n2-x"}
    node.held = ()
    for read in list(node.waiting):
        node.carry_out(read)
    node.run(1)
    assert node.state.store.unsure == frozenset()
    assert [b.what for b in find_blockers(node.state, node.policy, "www", frozenset({X}))] == [
        "the record of session n2-x is missing or cannot be read"
    ]


def test_what_a_write_on_its_way_withdraws_is_not_cleared(node: Lone) -> None:
    node.run(1)
    state = with_claim(node.state, clear=frozenset(), saying=frozenset())
    assert look(state, node.now, lambda _: True, node.policy) == state
    withdrawn = with_claim(node.state, raised=frozenset(), clear=frozenset(), saying=frozenset({X}))
    assert look(withdrawn, node.now, lambda _: True, node.policy) == withdrawn


@pytest.mark.parametrize(("saying", "known"), [((X, Y), {X}), ((X,), {X}), ((Y,), set()), ((), set())])
def test_a_write_of_unknown_outcome_leaves_what_both_records_say(
    node: Lone, saying: tuple[str, ...], known: set[str]
) -> None:
    node.run(1)
    after = claims.note_doubt(with_claim(node.state, saying=frozenset(saying)), node.now).groups["web"].claim
    assert after.said == after.clear == known
    assert after.said_at == claim(node).said_at


@pytest.mark.parametrize(
    ("found", "known"),
    [((X, Y), {X, Y}), ((X,), {X}), ((Z,), set()), (None, set())],
    ids=["what was sent last", "what was known", "something else", "not in it"],
)
def test_our_record_shows_what_is_said(node: Lone, found: tuple[str, ...] | None, known: set[str]) -> None:
    node.run(1)
    state = with_claim(node.state, raised=frozenset({X, Y}), saying=frozenset({X, Y}))
    record = other() if found is None else other(web=member(*found, full=False))
    after = claims.note_record(state, record, 2000.0)
    assert after.groups["web"].claim.said == known
    assert after.groups["web"].claim.clear == known & {X}
    assert (after.groups["web"].claim.said_at == 2000.0) is (known == {X, Y})
    assert after.requests.read_due or known != {X, Y}


def test_a_renewal_that_is_lost_is_found_by_reading(active: Lone) -> None:
    """The write lands, but its answer is lost; it added an address. Only the next listing can clear that."""
    active.fails[ev.Write] = "timeout"
    reconfigure(active, web=GroupPolicy(claims=frozenset({X, Y}), uses=frozenset({X})))
    active.run(0.1)
    assert claim(active).raised == {X, Y}
    assert claim(active).said == claim(active).clear == {X}
    active.fails.clear()
    active.run(1)
    assert claim(active).clear == {X, Y}
    assert active.state.groups["web"].role is Role.ACTIVE


# --- what follows -------------------------------------------------------------------------------------------------


def test_a_claim_stays_until_the_group_is_shut(active: Lone) -> None:
    active.held = (ev.Run,)
    reconfigure(active)
    active.run(1)
    assert not is_shut(active.state.groups["web"])
    assert (said(active).stake, said(active).digest) == (Stake.HOLDS, digest(frozenset({X})))


def test_who_is_unfit_claims_nothing(node: Lone) -> None:
    node.tell(ev.Judged("web", healthy=False, why="app"))
    node.run(1)
    assert said(node).digest == digest(frozenset())
    node.tell(ev.Judged("web", healthy=True))
    node.run(1)
    assert said(node).digest == digest(frozenset({X}))


def test_an_address_that_is_added_is_claimed_beside_what_is_served(active: Lone) -> None:
    active.put("sessions/n2-x", other(db=member(Y)))
    reconfigure(active, web=GroupPolicy(claims=frozenset({X, Y}), uses=frozenset({X})))
    active.run(1)
    assert (claim(active).raised, claim(active).blocked) == (frozenset({X}), f"n2 has {Y} in group db")
    assert said(active).stake is Stake.HOLDS
    active.put("sessions/n2-x", replace(other(db=member(Z)), beat=2, seq=2))
    active.run(1)
    assert claim(active).clear == {X, Y}
    assert active.state.groups["web"].role is Role.ACTIVE


def test_what_is_not_clear_is_not_armed(active: Lone) -> None:
    active.put("sessions/n2-x", other(db=member(Y)))
    reconfigure(active, web=moving(X, Y))  # the daemon waits for `may_use`; this one did not
    active.actions.clear()
    active.run(1)
    assert active.did(ev.StartTimer)
    assert not active.did(ev.Arm)


def test_what_may_be_put_in_place_of_what_is_moved_now(active: Lone) -> None:
    assert may_use(active.state, "new", frozenset({Y}))
    assert may_use(active.state, "web", frozenset({X}))
    assert may_use(active.state, "web", frozenset())
    assert not may_use(active.state, "web", frozenset({X, Y}))
    active.tell(ev.Judged("web", healthy=False, why="app"))
    active.run(0.5)
    assert may_use(active.state, "web", frozenset({X, Y}))


def test_a_group_is_handed_only_to_who_holds_what_it_moves(active: Lone) -> None:
    for beat, (stake, to) in enumerate([(Stake.WAITS, "n1-a"), (Stake.ASKS, "n1-a"), (Stake.HOLDS, "n2-x")]):
        active.put("sessions/n2-x", replace(other(web=member(X, stake=stake)), beat=beat, seq=beat + 1))
        active.run(0.6)
        active.tell(ev.Asked("web", "n2"))
        active.run(0.3)
        assert owner(active) == to


def test_what_is_handed_to_us_while_another_has_it_is_given_back(node: Lone) -> None:
    node.put("sessions/n2-x", other(web=member(X)))
    node.put("groups/web", Ownership(SessionId("n2-x"), "n2", 5000, seq=5005, writer="other"))
    node.run(1)
    node.put("sessions/n3-x", replace(other(db=member(Y)), node="n3"))
    reconfigure(node, web=moving(X, Y))
    node.run(1)
    record, before = decode(node.store["groups/web"].value, Ownership), node.store["groups/web"].version
    handed = replace(record, session=SessionId("n1-a"), epoch=5001, seq=5006, after=before)
    node.put("groups/web", handed)
    node.tell(ev.Hint({"groups/web": node.store["groups/web"]}))
    node.run(0.1)
    assert owner(node) is None
    assert not node.did(ev.Arm)


@pytest.fixture
def waiting() -> Lone:
    """Returns a node that waits for the address that n2 has in another group."""
    node = lone()
    node.put("sessions/n2-x", other(www=member(X)))
    return node.start()


def test_the_record_of_a_group_is_created_while_another_has_the_address(waiting: Lone) -> None:
    """The new record must be watched for a lease. Who waits for the address has done that by then."""
    node = waiting
    for beat in range(2, 12):
        node.put("sessions/n2-x", replace(other(www=member(X)), beat=beat, seq=beat))
        node.run(0.5)
    assert owner(node) is None
    node.put("sessions/n2-x", replace(other(), beat=20, seq=20))
    node.run(1)
    assert owner(node) == "n1-a"


def test_a_silent_session_in_the_way_is_fenced(waiting: Lone) -> None:
    node = waiting
    node.run(TIMING.lease_duration - 0.1)
    assert not decode(node.store["sessions/n2-x"].value, Session).fenced
    node.run(0.6)
    assert decode(node.store["sessions/n2-x"].value, Session).fenced
    node.run(1)
    assert node.state.groups["web"].role is Role.ACTIVE


def test_who_cannot_renew_fences_nobody(waiting: Lone) -> None:
    node = waiting.run(1)
    node.fails[ev.Write] = "no space"
    node.run(TIMING.lease_duration + 1)
    assert not any(isinstance(a, ev.Write) and a.key == "sessions/n2-x" for a in node.actions)


# --- adoption -----------------------------------------------------------------------------------------------------


def heir(node: Lone, **groups: GroupPolicy) -> Lone:
    """Returns the next life of this node, which adopts its session, and finds the guard of web open."""
    saved = Saved(SessionId("n1-a"), node.state.session.beat, "boot", "n1")
    policy = replace(node.policy, groups=groups)
    next_life = Lone(policy=policy, now=node.now, store=node.store, versions=node.versions)
    return next_life.start(session=SessionId("n1-b"), saved=saved, open_groups=frozenset({"web"}), open_slot=0)


def test_what_is_still_the_same_is_adopted_with_its_claim(active: Lone) -> None:
    next_life = heir(active, web=moving(X), db=moving(Y))
    assert claim(next_life).clear == {X}
    next_life.run(1)
    assert [t.reason for t in next_life.transitions][:1] == [Reason.ADOPTED]
    assert next_life.state.groups["web"].role is Role.ACTIVE


@pytest.mark.parametrize("tokens", [(X, Y), (Y,)])
def test_what_is_configured_otherwise_is_shut_before_it_is_taken_again(active: Lone, tokens: tuple[str, ...]) -> None:
    next_life = heir(active, web=moving(*tokens)).run(4)
    steps = [a.step for a in next_life.did(ev.Run) if isinstance(a, ev.Run)]
    assert steps[:2] == [Step.SHUT, Step.DEMOTE]
    assert next_life.transitions[0].reason is Reason.CLAIMED
    assert next_life.state.groups["web"].role is Role.ACTIVE
    assert claim(next_life).clear == set(tokens)


def test_what_was_not_held_is_not_adopted(active: Lone) -> None:
    record = decode(active.store["sessions/n1-a"].value, Session)
    asking = replace(record.groups["web"], stake=Stake.ASKS)
    active.put("sessions/n1-a", replace(record, groups={"web": asking}))
    assert heir(active, web=moving(X)).transitions[0].reason is Reason.CLAIMED


def test_what_a_version_without_claims_served_is_adopted(active: Lone) -> None:
    record = decode(active.store["sessions/n1-a"].value, Session)
    active.put("sessions/n1-a", replace(record, groups={"web": Membership(healthy=True, serving=1)}))
    next_life = heir(active, web=moving(X)).run(1)
    assert next_life.transitions[0].reason is Reason.ADOPTED
    assert said(next_life).digest == digest(frozenset({X}))


def test_what_might_still_pass_is_claimed_until_it_is_shut(active: Lone) -> None:
    """An adopted guard lets X pass until it is shut, and the claim of the earlier life is not taken over."""
    active.put("sessions/n3-x", b"rubbish")
    saved = Saved(SessionId("n1-a"), active.state.session.beat, "boot", "n1")
    policy = replace(active.policy, groups={"web": GroupPolicy(claims=frozenset({X, Y}), uses=frozenset({X}))})
    next_life = Lone(policy=policy, now=active.now, store=active.store, versions=active.versions, held=(ev.Run,))
    next_life.start(session=SessionId("n1-b"), saved=saved, open_groups=frozenset({"web"}), open_slot=0)
    next_life.run(1)
    assert not is_shut(next_life.state.groups["web"])
    assert said(next_life).stake is not Stake.WAITS
    assert X in claim(next_life).raised
