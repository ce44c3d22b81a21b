"""One group as this node knows it: its role, and the parts of its state. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controller.core.events import Step
from controller.core.records import SessionId, Stake
from controller.core.values import replace
from controller.stores.base import Version


class Role(StrEnum):
    """The role of this node in one group."""

    INIT = "init"  # not known yet
    STANDBY = "standby"  # fit, and would take over
    PROMOTING = "promoting"  # owns the group, but is not ready to serve
    ACTIVE = "active"  # serves
    DEMOTING = "demoting"  # no longer serves, but has not finished giving up
    FAULT = "fault"  # unfit: does not campaign
    PAUSED = "paused"  # the cluster is paused, and this node does not serve the group


AT_REST = frozenset({Role.INIT, Role.STANDBY, Role.FAULT, Role.PAUSED})


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
    BAD_RECORD = "bad-record"
    SESSION_OVER = "session-over"
    RESTORED = "store-went-back"
    CLAIMED = "address-claimed"
    STEP_FAILED = "step-failed"
    INTERNAL = "internal-error"


@dataclass(frozen=True, slots=True)
class GroupPolicy:
    """How this node campaigns for one group. Priority 0 means never active. The delay is in seconds.

    The tokens name what the group moves (see `controller.core.claims`). `uses` is what would be served now; `claims`
    includes it, and what is to be served once that is allowed. `leaves` is the part of `uses` that is to go then.
    """

    priority: int = 100
    preempt: bool = False
    preempt_delay: float = 0.0
    claims: frozenset[str] = frozenset()
    uses: frozenset[str] = frozenset()
    leaves: frozenset[str] = frozenset()
    prepare: bool = False  # the guard stays shut until the prepare hook has succeeded
    cleanup: bool = False  # the group is handed on only after the cleanup hook has ended


@dataclass(frozen=True, slots=True)
class Ask:
    """A switchover that this node was asked for. It is given up at `until`.

    A request that was `withdrawn` stays until the group's record can no longer contain it.
    """

    to: str | None
    until: float
    ticket: int = 0
    withdrawn: bool = False
    by: str = ""  # who asked, for people to read


@dataclass(frozen=True, slots=True)
class Owned:
    """Our ownership of a group. `confirmed_at` is when the last request was sent whose answer showed it."""

    version: Version
    epoch: int
    confirmed_at: float


@dataclass(frozen=True, slots=True)
class Leaving:
    """Why a group is being given up. `lost` means that the right is already gone: shut first, then tidy up."""

    reason: Reason
    lost: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """What our session claims for the group, in tokens."""

    raised: frozenset[str] = frozenset()  # our next record says this
    said: frozenset[str] = frozenset()  # our record is known to say this
    said_at: float = 0.0  # since then, or earlier
    clear: frozenset[str] = frozenset()  # no other session claimed this when we looked after we had said it
    stake: Stake = Stake.HOLDS
    blocked: str = ""  # who else claims it, for people to read
    kept: frozenset[str] = frozenset()  # what is to go, but must stay for now: no other group could serve it yet


@dataclass(frozen=True, slots=True)
class Right:
    """What gives this node the right to serve the group, and until when."""

    owned: Owned | None = None
    expires_at: float | None = None  # when the grant ends
    taken_as: Reason = Reason.FREE
    adoptable: bool = False  # the guard was open when this life began, so nothing had been given up
    found_at: float | None = None  # when this life found the guard open


@dataclass(frozen=True, slots=True)
class Arming:
    """What the guard was asked to do for the group, and what the kernel confirmed."""

    opened: bool = False  # False: the kernel confirmed that the guard is shut, and nothing was armed since
    in_flight: bool = False
    bound: bool = False  # a bind was ordered, and the addresses were not removed since
    confirmed: bool = False  # the kernel confirmed an arming of this ownership
    renewal: float | None = None  # the `started_at` of the renewal whose timer the last arming used

    @property
    def shut(self) -> bool:
        """Whether the kernel confirmed that none of the group's traffic can pass, and no address is left."""
        return not self.opened and not self.in_flight and not self.bound


@dataclass(frozen=True, slots=True)
class Steps:
    """How far this promotion or demotion has come."""

    running: Step | None = None
    done: frozenset[Step] = frozenset()
    retry_at: float = 0.0
    error: str = ""  # of the last step, for people to read
    hooked: bool = False  # the prepare or promote hook has been called, so the demote hook must be
    cleans: bool = False  # likewise, and so must the cleanup hook
    took: Mapping[str, float] = field(default_factory=dict)  # the seconds that each step took, for people to read


@dataclass(frozen=True, slots=True)
class Failure:
    """A step that failed on this node, for people to read. It stays until this node serves the group again."""

    step: str
    error: str
    at: float


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What an active group still needs: its addresses refreshed, or announced again."""

    refresh: bool = False
    announce: bool = False
    renewal: float | None = None  # the `started_at` of the renewal that the last refresh followed


@dataclass(frozen=True, slots=True)
class Campaign:
    """What this node remembers of its campaign for the group."""

    sits_out_until: float = 0.0
    failed: bool = False  # a step failed: this node also sits out what is offered or handed to it
    hand_to: SessionId | None = None
    ask: Ask | None = None
    preempt_since: float | None = None
    waits_for: str = ""  # why this node does not take the group now, for people to read
    heard: int = -1  # the last listing before the grant ended; this node takes the group again only after another


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error in the decision about the group. `helpless`: the attempt to give it back failed, too."""

    until: float  # then this node tries again
    detail: str
    helpless: bool = False


@dataclass(frozen=True, slots=True)
class Tale:
    """What this node can tell of the group's last change, for people to read. No decision depends on it.

    `left` and `stopped_at`: why and when this node last stopped serving. `served_at`, `gap` and `took`: since when it
    serves now, for how many seconds at most nobody had, and how long its steps took.
    """

    left: Leaving | None = None
    stopped_at: float | None = None
    asked_by: str = ""
    epoch: int = 0  # of the ownership that `left` ended
    served_at: float | None = None
    gap: float = 0.0
    took: Mapping[str, float] = field(default_factory=dict)
    kept_since: float | None = None  # since when the group's record can have a story; None: it has none


@dataclass(frozen=True, slots=True)
class GroupState:
    """One group, seen from this node."""

    role: Role = Role.INIT
    since: float = 0.0
    epoch: int = 0  # the highest seen
    healthy: bool | None = None
    why: str = ""  # what decided about `healthy`
    right: Right = Right()
    arming: Arming = Arming()
    steps: Steps = Steps()
    upkeep: Upkeep = Upkeep()
    leaving: Leaving | None = None
    campaign: Campaign = Campaign()
    claim: Claim = Claim()
    failure: Failure | None = None
    trouble: Trouble | None = None
    tale: Tale = Tale()

    def must_prepare(self, policy: GroupPolicy | None) -> bool:
        """Returns whether the prepare hook must succeed before the guard opens. A guard that was open stays so."""
        prepares = policy is not None and policy.prepare
        return prepares and Step.PREPARE not in self.steps.done and not self.arming.opened

    def with_hook_called(self, policy: GroupPolicy | None) -> GroupState:
        """Returns the group after a hook of its promotion was called: what it has begun must be undone."""
        cleans = policy is not None and policy.cleanup
        return replace(self, steps=replace(self.steps, hooked=True, cleans=cleans))

    @property
    def fit(self) -> bool:
        """Whether this node would serve the group: its checks pass, and no error stops it."""
        return self.healthy is True and self.trouble is None

    def list_steps_left(self, *, lost: bool) -> list[Step]:
        """Returns the steps of the demotion that are left, in order."""
        first = (Step.SHUT, Step.DEMOTE) if lost else (Step.DEMOTE, Step.RESET, Step.SHUT)
        return [
            step
            for step in (*first, Step.CLEANUP)
            if not (step is Step.DEMOTE and not self.steps.hooked)
            and not (step is Step.CLEANUP and not self.steps.cleans)
            and not (step is not Step.SHUT and step in self.steps.done)
            and not (step is Step.SHUT and self.arming.shut)
        ]


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of role."""

    group: str
    at: float
    before: Role
    after: Role
    reason: Reason
    detail: str = ""
    epoch: int = 0
