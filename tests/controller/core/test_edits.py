"""A served group whose addresses are to go to another group: until when it has them, and when it is given up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from controller.core import events as ev
from controller.core.claims import digest, may_use
from controller.core.machine import GroupPolicy, Policy, Reason, Role
from controller.core.records import Membership, Session, Stake, decode
from tests.lab.node.lone import TIMING, Lone

A, B, C = "10.77.0.100", "10.77.0.101", "10.77.0.102"


def moves(now: Iterable[str], then: Iterable[str] | None = None) -> GroupPolicy:
    """A group that moves these now, and others once that is allowed."""
    uses, coming = frozenset(now), frozenset(now if then is None else then)
    return GroupPolicy(claims=uses | coming, uses=uses, leaves=uses - coming)


class Cluster:
    """One node that serves web and db, and another one, n2, that renews its session while time passes."""

    def __init__(self, **groups: Iterable[str]) -> None:
        self.node = Lone(policy=self._policy({name: moves(tokens) for name, tokens in groups.items()})).start()
        self.other: Session | None = None
        self.node.run(4)
        assert self.roles() == {Role.ACTIVE}

    def _policy(self, groups: Mapping[str, GroupPolicy]) -> Policy:
        return Policy("n1", "boot", TIMING, groups)

    def reload(self, **groups: GroupPolicy) -> None:
        self.node.policy = self._policy(groups)
        self.node.tell(ev.Tick())

    def says(self, stake: Stake = Stake.HOLDS, **groups: Iterable[str]) -> None:
        """What n2 says of its groups from now on."""
        members = {
            name: Membership(healthy=True, stake=stake, digest=digest(frozenset(tokens)), claims=tuple(sorted(tokens)))
            for name, tokens in groups.items()
        }
        seq = 1 if self.other is None else self.other.seq
        self.other = Session("n2", seq, groups=members, seq=seq, writer="other")
        self.run(0.5)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.5)):
            if self.other is not None:
                self.other = replace(self.other, beat=self.other.beat + 1, seq=self.other.seq + 1)
                self.node.put("sessions/n2-x", self.other)
            self.node.run(0.5)

    def roles(self) -> set[Role]:
        return {group.role for group in self.node.state.groups.values()}

    def waits(self, group: str) -> str:
        return self.node.state.groups[group].claim.blocked

    def may_use(self, group: str, *tokens: str) -> bool:
        return may_use(self.node.state, group, frozenset(tokens))


def test_an_address_stays_in_its_group_until_no_other_node_has_it_there() -> None:
    cluster = Cluster(db=[A, B], web=[C])
    cluster.says(db=[A, B], web=[C])
    cluster.reload(db=moves([A, B], [B]), web=moves([C], [A, C]))
    cluster.run(3)
    assert cluster.waits("web") == f"n2 has {A} in group db"
    assert not cluster.may_use("db", B), "nobody would serve the address"
    cluster.says(db=[B], web=[C])
    assert cluster.may_use("db", B)
    assert cluster.roles() == {Role.ACTIVE}
    cluster.reload(db=moves([B]), web=moves([C], [A, C]))
    cluster.run(1)
    assert cluster.may_use("web", A, C)
    assert cluster.waits("web") == ""


def test_an_address_that_no_other_group_gets_goes_at_once() -> None:
    cluster = Cluster(db=[A, B], web=[C])
    cluster.says(db=[A, B], web=[C])
    cluster.reload(db=moves([A, B], [B]), web=moves([C]))
    assert cluster.may_use("db", B)


def test_groups_that_exchange_addresses_are_given_up_once_the_other_node_has_let_go() -> None:
    cluster = Cluster(db=[A], web=[B])
    cluster.says(db=[A], web=[B])
    cluster.reload(db=moves([A], [B]), web=moves([B], [A]))
    cluster.run(3)
    assert cluster.roles() == {Role.ACTIVE}, "the other node is not edited yet"
    cluster.says(Stake.WAITS, db=[], web=[])
    given_up = [t for t in cluster.node.transitions if t.after is Role.DEMOTING]
    assert {(t.group, t.reason) for t in given_up} == {("db", Reason.CLAIMED), ("web", Reason.CLAIMED)}
    assert cluster.may_use("db", B)
    assert cluster.may_use("web", A)
    cluster.reload(db=moves([B]), web=moves([A]))
    cluster.run(2 * TIMING.lease_duration)
    assert cluster.roles() == {Role.ACTIVE}, "nobody else takes them"


def test_a_group_is_not_given_up_for_an_address_that_no_other_group_gets() -> None:
    cluster = Cluster(db=[A], web=[B])
    cluster.says(log=[C])
    cluster.reload(db=moves([A], [C]), web=moves([B]))
    cluster.run(3)
    assert cluster.waits("db") == f"n2 has {C} in group log"
    assert cluster.roles() == {Role.ACTIVE}


def test_an_active_group_fences_a_silent_session_that_has_its_address() -> None:
    """Nobody else would: a session that owns no group is in nobody's way."""
    cluster = Cluster(db=[B], web=[C])
    cluster.says(web=[A, C])
    cluster.other = None
    cluster.reload(db=moves([B], [A, B]), web=moves([C]))
    cluster.run(1)
    assert cluster.waits("db") == f"n2 has {A} in group web"
    cluster.run(TIMING.lease_duration + 1)
    assert decode(cluster.node.store["sessions/n2-x"].value, Session).fenced
    assert cluster.may_use("db", A, B)
    assert cluster.roles() == {Role.ACTIVE}
