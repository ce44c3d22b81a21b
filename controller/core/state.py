"""What the core knows: one frozen value per node. Pure data; `controller.core.machine` says how it changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from controller.core.election import Sighting
from controller.core.events import Action, Step
from controller.core.records import CLUSTER, SESSIONS, Cluster, Record, SessionId
from controller.core.rules import Rules
from controller.core.timing import Timing
from controller.core.values import replace
from controller.stores.base import Version


class Role(StrEnum):
    """What this node is in one group."""

    INIT = "init"  # not known yet
    STANDBY = "standby"  # fit, and would take over
    PROMOTING = "promoting"  # owns the group, is not ready to serve
    ACTIVE = "active"  # serves
    DEMOTING = "demoting"  # no longer serves, is not yet clean
    FAULT = "fault"  # unfit: does not campaign
    PAUSED = "paused"  # the cluster decides nothing now


class Reason(StrEnum):
    """Why a role changed. Logs, metrics, `anyvip status` and tests read these."""

    STARTED = "started"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DUPLICATE = "duplicate-node-name"
    NEVER_ACTIVE = "priority-zero"
    PAUSED = "paused"
    RESUMED = "resumed"
    FREE = "group-was-free"
    OFFERED = "offered"
    HANDED = "handed-over"
    FAILOVER = "owner-fenced"
    REGAINED = "regained"
    ADOPTED = "adopted"
    READY = "promotion-done"
    RELEASED = "released"
    SHUT = "shut"
    SWITCHOVER = "switchover"
    STOPPING = "stopping"
    REMOVED = "removed-from-configuration"
    EXPIRED = "grant-expired"
    TAKEN = "owned-by-another"
    DELETED = "group-record-gone"
    SESSION_OVER = "session-over"
    RESTORED = "store-went-back"
    STEP_FAILED = "step-failed"


class Phase(StrEnum):
    """Where the life of our session stands."""

    INIT = "init"  # Started has not been seen
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
class GroupPolicy:
    """How this node campaigns for one group. Priority 0: never active. Delay in seconds."""

    priority: int = 100
    preempt: bool = False
    preempt_delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration says; the same value until the next reload."""

    node: str
    boot_id: str
    timing: Timing
    groups: Mapping[str, GroupPolicy]
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True, slots=True)
class Ask:
    """A switchover that somebody asked this node for; given up at `until`."""

    to: str | None
    until: float


@dataclass(frozen=True, slots=True)
class Owned:
    """Our ownership of a group: the version we hold, and the last time a request that was sent then showed it."""

    version: Version
    epoch: int
    confirmed_at: float


@dataclass(frozen=True, slots=True)
class Leaving:
    """Why a group is being given up. `lost`: the right is gone already, so shut first and tidy up after."""

    reason: Reason
    lost: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class GroupState:
    """One group, seen from this node."""

    role: Role = Role.INIT
    since: float = 0.0
    healthy: bool | None = None
    why: str = ""
    epoch: int = 0  # the highest seen
    owned: Owned | None = None
    expires_at: float | None = None  # of the grant
    taken_as: Reason = Reason.FREE
    opened: bool = False  # False: the kernel said that the guard is shut, and nothing was armed since
    arming: bool = False  # in flight
    armed: bool = False  # the kernel confirmed an arming of this ownership
    armed_for: float | None = None  # the renewal of the last arming
    adoptable: bool = False  # the guard was open when this life began, so nothing had been given up
    hooked: bool = False  # the promote hook has been called, so the demote hook must be
    refreshed_for: float | None = None  # the renewal of the last refresh
    step: Step | None = None  # running
    done: frozenset[Step] = frozenset()  # of this promotion or demotion
    retry_at: float = 0.0
    leaving: Leaving | None = None
    error: str = ""  # the last step's, for people
    sits_out_until: float = 0.0
    failed: bool = False  # a step did: it sits out what is offered or handed to it, too
    hand_to: SessionId | None = None
    ask: Ask | None = None
    refresh: bool = False
    announce: bool = False
    preempt_since: float | None = None
    waits_for: str = ""  # why it does not take the group now, for people

    @property
    def shut(self) -> bool:
        """Nothing of this group can pass, and the kernel said so."""
        return not self.opened and not self.arming


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
    """One renewal: timer started in the unused slot, then beat and listing, then the groups armed."""

    slot: int
    began_at: float
    timer_at: float | None = None  # the clock before the timer was started
    sent: bool = False
    beating: bool = True
    listing: bool = True
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Renewal:
    """The last renewal known to have succeeded. Grants count from `at`; the slot's timer runs since `started_at`."""

    at: float
    started_at: float
    slot: int


@dataclass(frozen=True, slots=True)
class State:
    """Everything the core knows."""

    phase: Phase = Phase.INIT
    session: SessionId | None = None
    writer: str = ""
    wall_offset: float = 0.0
    beat: int = -1  # the highest known to have landed
    version: Version | None = None  # of our session's record
    doubt: bool = True  # a read must tell what our session's record is
    seq: int = 0
    fresh: bool = True  # no write of this life has landed on our session's record
    established: bool = False  # no other live session had our node's name
    past: frozenset[SessionId] = frozenset()  # our own sessions that are over: fenced without waiting
    sightings: Mapping[str, Sighting] = field(default_factory=dict)
    gone: Mapping[str, int] = field(default_factory=dict)  # groups' records that are not known now: the last one's seq
    completed: Mapping[str, float] = field(default_factory=dict)  # when our last write of a key ended
    pending: Mapping[int, Pending] = field(default_factory=dict)
    reading: int | None = None
    heard: int = 0  # the request of the last listing that was heard
    look: bool = True  # read as soon as may be
    look_at: float = 0.0  # but not before
    requests: int = 0
    round: Round | None = None
    next_round_at: float = 0.0
    renewed: Renewal | None = None
    spare_slot: int = 0
    out_of_contact: bool = False
    quarantine_until: float = 0.0  # the store went back: take and open nothing before
    clearing: bool = False
    minting: bool = False
    want_paused: bool | None = None
    asked_after: int = 0  # the last request before that was asked for
    stop_by: float | None = None  # leaving, and when to go whatever the store says
    saved_beat: int = -1  # what the state file says
    over: Reason | None = None  # why the session is over
    groups: Mapping[str, GroupState] = field(default_factory=dict)
    concerned: frozenset[str] | None = None  # the groups that events since the last decision concern; None: all
    wakes: Mapping[str, float] = field(default_factory=dict)  # when a group must decide anew, whatever happens
    decided_by: Policy | None = None  # the policy of the last decision

    @property
    def own_key(self) -> str:
        """The key of our session's record."""
        return f"{SESSIONS}{self.session}"

    @property
    def paused(self) -> bool:
        """Whether an operator paused the cluster, as far as this node has seen."""
        seen = self.sightings.get(CLUSTER)
        return seen is not None and isinstance(seen.record, Cluster) and seen.record.paused


def with_group(state: State, name: str, **changes: Any) -> State:
    """The state with a group changed, where the node has it configured."""
    known = state.groups.get(name)
    if known is None:
        return state
    return replace(state, groups={**state.groups, name: replace(known, **changes)})


@dataclass(frozen=True, slots=True)
class Transition:
    """A role changed."""

    group: str
    at: float
    before: Role
    after: Role
    reason: Reason
    detail: str = ""
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from a state: begin the `actions` in order, and say `Tick` at `wake_at` at the latest."""

    state: State
    actions: tuple[Action, ...]
    wake_at: float | None
    transitions: tuple[Transition, ...]
