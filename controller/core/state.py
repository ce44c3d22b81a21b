"""What the core knows: one frozen value per node. Pure data; `controller.core.machine` decides how it changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf

from controller.core.election import Sighting
from controller.core.events import Action
from controller.core.group import GroupPolicy, GroupState, Reason, Transition
from controller.core.records import CLUSTER, GROUPS, SESSIONS, Cluster, Ownership, Record, SessionId
from controller.core.rules import Rules
from controller.core.timing import Timing
from controller.core.values import replace
from controller.stores.base import Version


class Phase(StrEnum):
    """The stage that the life of our session has reached."""

    INIT = "init"  # `Started` has not arrived
    CLEARING = "clearing"  # what an earlier life left is being unbound
    ADOPTING = "adopting"  # the record of the saved session is not confirmed yet
    MINTING = "minting"  # a new session id is being made
    CREATING = "creating"  # our record is being created
    MEMBER = "member"
    ENDING = "ending"  # the session is over; groups are being shut
    LEAVING = "leaving"  # everything is released; our record is being fenced
    LEFT = "left"  # our record is fenced
    GONE = "gone"  # `Exit` was ordered


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration says. The value stays the same until the next reload."""

    node: str
    boot_id: str
    timing: Timing
    groups: Mapping[str, GroupPolicy]
    rules: Rules = field(default_factory=Rules)
    version: str = ""  # of anyvip
    config: str = ""  # the digest of `facts`
    facts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # see `controller.core.differences`


class Purpose(StrEnum):
    """What a write in flight is for."""

    CREATE = "create"
    BEAT = "beat"
    FENCE = "fence"
    BEGIN = "begin"
    TAKE = "take"
    RELEASE = "release"
    WANT = "want"
    PAUSE = "pause"
    TELL = "tell"
    LEAVE = "leave"
    COLLECT = "collect"


@dataclass(frozen=True, slots=True)
class Pending:
    """A write in flight."""

    key: str
    purpose: Purpose
    record: Record | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Round:
    """One round: a timer starts in the unused slot, then beat and listing leave, then the groups are armed."""

    slot: int
    began_at: float
    timer_at: float | None = None  # the clock just before the timer was started
    sent: bool = False
    beating: bool = True
    listing: bool = True
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Renewal:
    """The last renewal known to have succeeded. Grants count from `at`. The slot's timer started at `started_at`."""

    at: float
    started_at: float
    slot: int


@dataclass(frozen=True, slots=True)
class DaemonLife:
    """What this life of the daemon is, and what it found when it began."""

    writer: str = ""
    wall_offset: float = 0.0  # Unix time minus this clock, as of the last round
    past: frozenset[SessionId] = frozenset()  # our own sessions that are over: fenced without waiting
    clearing: bool = False


@dataclass(frozen=True, slots=True)
class OwnSession:
    """Our session, and what we know of its record. A new session starts with a new value."""

    id: SessionId | None = None
    beat: int = -1  # the highest that is known to have landed
    saved_beat: int = -1  # the beat in the state file
    version: Version | None = None
    seq: int = 0
    doubt: bool = True  # only a read can show what the record is
    fresh: bool = True  # no write of this life has landed on the record
    landed_at: float = -inf  # when the last write of this life that is known to have landed was sent
    established: bool = False  # no other live session had our node's name
    over: Reason | None = None  # why the session is over
    saying: Mapping[str, frozenset[str]] = field(default_factory=dict)  # the claims in the last record that we sent

    @property
    def key(self) -> str:
        """The key of our session's record."""
        return f"{SESSIONS}{self.id}"


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What this node has seen of the store."""

    sightings: Mapping[str, Sighting] = field(default_factory=dict)
    gone: Mapping[str, int] = field(default_factory=dict)  # the last `seq` of each group record not known now
    unsure: frozenset[str] = frozenset()  # other sessions that we could not write, and have not listed since
    answered_at: float = 0.0  # when the last listing arrived
    quarantine_until: float = 0.0  # the store went back: nothing is taken or opened before this
    out_of_contact: bool = False
    unread: bool = False  # no listing was answered since one whose round's renewal was: only reading fails
    served: Mapping[str, float] = field(default_factory=dict)  # when each group was last known to be served


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests to the store: writes and at most one read in flight, and whether a read is due."""

    last: int = 0  # the number of the last request
    pending: Mapping[int, Pending] = field(default_factory=dict)
    completed: Mapping[str, float] = field(default_factory=dict)  # when our last write of a key ended
    reading: int | None = None
    heard: int = 0  # the number of the last listing that was recorded
    read_due: bool = True  # read as soon as possible
    read_from: float = 0.0  # but not before this
    failed: Mapping[str, float] = field(default_factory=dict)  # when a write of the key last failed, if lately


@dataclass(frozen=True, slots=True)
class Rounds:
    """The renewals: the one under way, the last that succeeded, and when the next one begins."""

    current: Round | None = None
    next_at: float = 0.0
    renewed: Renewal | None = None
    spare_slot: int = 0


@dataclass(frozen=True, slots=True)
class PauseWish:
    """The pause or resumption that an operator asked for, as the record it is to become.

    A wish that was `withdrawn` after it had been `sent` stays until it is known whether it has landed, and no late
    copy can land any more.
    """

    record: Cluster
    ticket: int
    asked_after: int  # the number of the last request before this was asked for or withdrawn
    sent: bool = False
    withdrawn: bool = False

    def holds_in(self, record: Cluster) -> bool:
        """Returns whether this record says what was asked for."""
        return record.paused is self.record.paused and (not record.paused or record.id == self.record.id)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What operators asked of this node."""

    pause: PauseWish | None = None
    heard: int = 0  # the highest ticket of a request that was noted
    withdrawn: int = 0  # the highest ticket of a request that was withdrawn
    stop_by: float | None = None  # set when leaving: exit then, whatever the store answers


@dataclass(frozen=True, slots=True)
class PauseSeen:
    """The pause that this node has seen, and since when. `id` is None while the cluster is not paused."""

    id: str | None = None
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Agenda:
    """Which groups the next decision is about. This saves work and changes no decision."""

    concerned: frozenset[str] | None = None  # by events since the last decision; None: all
    wakes: Mapping[str, float] = field(default_factory=dict)  # when a group must decide anew in any case
    decided_by: Policy | None = None  # the policy of the last decision


@dataclass(frozen=True, slots=True)
class State:
    """Everything the core knows."""

    phase: Phase = Phase.INIT
    life: DaemonLife = DaemonLife()
    session: OwnSession = OwnSession()
    store: Knowledge = Knowledge()
    requests: Requests = Requests()
    rounds: Rounds = Rounds()
    wishes: Wishes = Wishes()
    pause_seen: PauseSeen = PauseSeen()
    groups: Mapping[str, GroupState] = field(default_factory=dict)
    agenda: Agenda = Agenda()

    @property
    def paused(self) -> bool:
        """Whether an operator paused the cluster, as far as this node has seen."""
        return self.pause is not None

    @property
    def pause(self) -> Cluster | None:
        """The record of the pause, as far as this node has seen; None while the cluster is not paused."""
        seen = self.store.sightings.get(CLUSTER)
        record = None if seen is None else seen.record
        return record if isinstance(record, Cluster) and record.paused else None

    def pause_ends(self) -> float | None:
        """Returns when the pause ends by itself, by this node's count; None if there is none that does."""
        pause = self.pause
        return None if pause is None or pause.lasts <= 0 else self.pause_seen.since + pause.lasts

    @property
    def stopping(self) -> bool:
        """Whether this daemon was asked to leave."""
        return self.wishes.stop_by is not None

    def ownership(self, group: str) -> tuple[Ownership | None, Version | None]:
        """Returns the group's record as last seen, and its version."""
        seen = self.store.sightings.get(GROUPS + group)
        if seen is None or not isinstance(seen.record, Ownership):
            return None, None
        return seen.record, seen.version

    def names_us(self, group: str) -> bool:
        """Returns whether the group's record names our session."""
        record, _ = self.ownership(group)
        return record is not None and record.session == self.session.id and self.session.id is not None

    def with_group(self, name: str, group: GroupState) -> State:
        """Returns the state with this group changed."""
        return replace(self, groups={**self.groups, name: group})

    def with_round_at(self, at: float) -> State:
        """Returns the state in which the next round begins at this moment, unless one is under way then."""
        return replace(self, rounds=replace(self.rounds, next_at=at))

    def with_read_due(self) -> State:
        """Returns the state in which a read follows as soon as possible."""
        return replace(self, requests=replace(self.requests, read_due=True))


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from a state. Begin the `actions` in order, and send `Tick` at `wake_at` at the latest."""

    state: State
    actions: tuple[Action, ...]
    wake_at: float | None
    transitions: tuple[Transition, ...]
    failures: tuple[tuple[str, Exception], ...] = ()  # the groups whose decision failed, to be logged
