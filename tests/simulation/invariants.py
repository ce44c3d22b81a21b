"""What must hold at every instant. Checks run when something begins, because no overlap can begin at another time."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from controller.core.records import CLUSTER, GROUPS, SESSIONS, BadRecord, Ownership, Session, SessionId, decode
from controller.stores.base import Entry
from tests.simulation.world import Violation

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.simulation.cluster import Cluster
    from tests.simulation.host import Host
    from tests.simulation.network import Message
    from tests.simulation.process import Process


class Invariants:
    """Checks all promises, and raises Violation when one is broken."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.sessions: dict[SessionId, Host] = {}
        self._fenced: set[SessionId] = set()
        self._deleted_at: dict[str, float] = {}
        self._owners: dict[tuple[str, int], SessionId] = {}
        self._highest: dict[str, int] = {}
        self._released: dict[str, tuple[SessionId, float]] = {}

    # --- one owner

    def armed(self, host: Host, groups: Collection[str]) -> None:
        """Check an armed guard: the groups it opened must be shut on all other hosts, and be its own by the record."""
        for group in groups:
            if not host.kernel.passes(group):
                continue
            for other in self._cluster.hosts.values():
                if other is not host and other.kernel.passes(group):
                    raise Violation(f"two guards open: {group} on {other.name} and now on {host.name}")
            self.moves(host, group)
            if host.groups[group].prepare and group not in host.kernel.prepared:
                raise Violation(f"{group} opened on {host.name} before its prepare hook has succeeded")
            self._check_record(host, group)

    def moves(self, host: Host, group: str) -> None:
        """Check that nothing that an open group moves passes on another host, in whatever group."""
        moved = host.kernel.moves.get(group, frozenset())
        for other in self._cluster.hosts.values():
            shared = None if other is host else other.kernel.shares(moved)
            if shared is not None and host.kernel.passes(group):
                raise Violation(f"two guards open: {shared} on {other.name} and now {group} on {host.name}")

    def _check_record(self, host: Host, group: str) -> None:
        """Check that the group's record names a session of this host that is not fenced."""
        owner = self._ownership(group)
        if owner is None or owner.new:
            return  # an operator deleted the record: the grant ends by itself, before another node can take the group
        named = owner.session
        if named is None or self.sessions.get(named) is not host:
            raise Violation(f"{group} opened on {host.name}, but the record names {named or 'nobody'}")
        if named in self._fenced:
            raise Violation(f"{group} opened on {host.name} under {named}, which is fenced")

    def unbinding(self, host: Host, group: str) -> None:
        """Check that no traffic passes any more when a group's addresses are about to go."""
        if host.kernel.passes(group):
            raise Violation(f"{group}'s addresses leave {host.name} while its guard is open")

    def cleaning(self, host: Host, group: str) -> None:
        """Check that no traffic passes any more when a group's cleanup hook begins."""
        if host.kernel.passes(group):
            raise Violation(f"{group}'s cleanup hook begins on {host.name} while its guard is open")

    def answers(self, process: Process) -> None:
        """Check a health endpoint that began to answer 200: no other is allowed to answer 200 for the same group."""
        now = self._cluster.world.now
        for group, until in process.until.items():
            if until <= now:
                continue
            moved = process.host.uses.get(group, frozenset())
            for other in self._cluster.hosts.values():
                for same in other.groups if other is not process.host else ():
                    if (same == group or other.uses.get(same, frozenset()) & moved) and other.answers(same):
                        now_too = f"{group} on" if same != group else "on"
                        raise Violation(f"two answer 200: {same} on {other.name} and now {now_too} {process.host.name}")

    # --- what is written

    def landed(self, message: Message, before: Entry | None) -> None:
        """Check a write by a node that has landed."""
        key = message.key
        if key.startswith(SESSIONS):
            self._remember_fence(key)
        if key == CLUSTER:
            self._released.clear()  # no node takes anything while the cluster is paused
        if not key.startswith(GROUPS):
            return
        group, owner = key.removeprefix(GROUPS), self._ownership(key.removeprefix(GROUPS))
        if owner is None:
            return
        if before is None and message.sent_at < self._deleted_at.get(group, -1.0):
            self._forget_epochs(group)  # as documented, no version stops a create that was sent before a deletion
        if not owner.new:  # a new record does not let any node serve
            self._check_epoch(group, owner)
        old = ownership_in(before.value) if before else None
        if old is not None and old.session is not None and old.session != owner.session:
            self._check_given_up(group, old, message)
            if owner.session is None:
                self._remember_release(group, old.session)
        _check_story(group, old, owner)
        if owner.session is not None and (old is None or old.session != owner.session):
            self._check_not_won_back(group, owner.session)

    def _remember_fence(self, key: str) -> None:
        entry = self._cluster.store.entries.get(key)
        session = session_in(entry.value) if entry else None
        if session is not None and session.fenced:
            self._fenced.add(SessionId(key.removeprefix(SESSIONS)))

    def _check_epoch(self, group: str, owner: Ownership) -> None:
        highest = self._highest.get(group, 0)
        if owner.epoch < highest:
            raise Violation(f"{group} written with epoch {owner.epoch} after epoch {highest}")
        self._highest[group] = owner.epoch
        if owner.session is not None and self._owners.setdefault((group, owner.epoch), owner.session) != owner.session:
            taker = f"{self._owners[group, owner.epoch]} and {owner.session}"
            raise Violation(f"{group}: epoch {owner.epoch} belongs to {taker}")

    def _check_given_up(self, group: str, old: Ownership, message: Message) -> None:
        """Check that a host that gives up its own group no longer serves it when the write lands."""
        host = message.process.host
        if old.session is None or self.sessions.get(old.session) is not host:
            return
        if host.kernel.passes(group):
            raise Violation(f"{group} given up by {host.name} while its guard is open")
        if host.answers(group):
            raise Violation(f"{group} given up by {host.name} while it answers 200")

    def _remember_release(self, group: str, releaser: SessionId) -> None:
        if self._cluster.fair:
            self._released[group] = releaser, self._cluster.world.now

    def _check_not_won_back(self, group: str, taker: SessionId) -> None:
        releaser, released_at = self._released.pop(group, (None, 0.0))
        forgotten = self._cluster.world.now > released_at + 0.9 * self._cluster.timing.lease_duration
        if releaser != taker or forgotten:
            return
        fit = [host.name for host in self._cluster.hosts.values() if self._was_fit(host, group, taker, released_at)]
        if fit:
            raise Violation(f"{group}: {taker} won its own release back from {', '.join(fit)}")

    def _was_fit(self, host: Host, group: str, taker: SessionId, released_at: float) -> bool:
        """Report whether the host could have taken the group, and all nodes have known that for long enough."""
        if group not in host.configured:
            return False
        settled = host.settled_at + 2 * self._cluster.timing.lease_duration < released_at
        namesakes = sum(other.node == host.node for other in self._cluster.hosts.values())
        other = host is not self.sessions[taker] and namesakes == 1
        return other and settled and host.groups[group].priority > 0 and host.fit(group)

    # --- what an operator did

    def deleted(self, group: str) -> None:
        """Note that an operator has deleted the group's record."""
        self._deleted_at[group] = self._cluster.world.now

    def restored(self) -> None:
        """Note that a backup was restored: later epochs and fences are forgotten, but exclusion still holds."""
        self._fenced.clear()
        self._released.clear()
        for group in self._cluster.groups:
            self._forget_epochs(group)

    def _forget_epochs(self, group: str) -> None:
        self._highest.pop(group, None)
        self._owners = {key: owner for key, owner in self._owners.items() if key[0] != group}

    # --- at the end

    def check_settled(self) -> None:
        """Check, long after the last fault, that exactly one host serves each group."""
        for group in self._cluster.groups:
            answering = [host.name for host in self._cluster.hosts.values() if host.answers(group)]
            passing = [host.name for host in self._cluster.hosts.values() if host.kernel.passes(group)]
            if len(answering) != 1 or passing != answering:
                record = self._ownership(group)
                raise Violation(
                    f"{group} should be served by one: 200 from {answering or 'nobody'}, "
                    f"open on {passing or 'nobody'}, record {record}",
                )

    def serving(self) -> dict[str, str]:
        """Return the host that answers 200, by group."""
        return {
            group: host.name for host in self._cluster.hosts.values() for group in host.groups if host.answers(group)
        }

    def _ownership(self, group: str) -> Ownership | None:
        entry = self._cluster.store.entries.get(GROUPS + group)
        return ownership_in(entry.value) if entry else None


def _check_story(group: str, old: Ownership | None, owner: Ownership) -> None:
    """Check that each change of owner says from whom and why. Nobody had a new record before."""
    if old is None or old.new or owner.new or (old.session, old.epoch) == (owner.session, owner.epoch):
        return
    who, change = f"{group}: epoch {owner.epoch} of {owner.node or 'nobody'}", owner.change
    if change is None or not change.why:
        raise Violation(f"{who} does not say why it began")
    handed = old.change is not None and change.was == old.change.was and not old.change.taken  # and not taken up
    if change.was != old.node and not handed:
        raise Violation(f"{who} is from {change.was or 'nobody'}, not from {old.node or 'nobody'}")


@lru_cache(maxsize=4096)
def ownership_in(value: bytes) -> Ownership | None:
    """Decode a group record. Returns None if it cannot be read."""
    try:
        return decode(value, Ownership)
    except BadRecord:
        return None


@lru_cache(maxsize=4096)
def session_in(value: bytes) -> Session | None:
    """Decode a session record. Returns None if it cannot be read."""
    try:
        return decode(value, Session)
    except BadRecord:
        return None
