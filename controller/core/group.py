"""One group as this node knows it: its role, and the parts of its state. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.core.events import Step
from controller.core.records import SessionId
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


@dataclass(frozen=True, slots=True)
class GroupPolicy:
    """How this node campaigns for one group. Priority 0: never active. Delay in seconds."""

    priority: int = 100
    preempt: bool = False
    preempt_delay: float = 0.0


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
class Right:
    """What gives this node the right to serve the group, and until when."""

    owned: Owned | None = None
    expires_at: float | None = None  # of the grant
    taken_as: Reason = Reason.FREE
    adoptable: bool = False  # the guard was open when this life began, so nothing had been given up


@dataclass(frozen=True, slots=True)
class Arming:
    """What the kernel's guard was told about the group, and what it confirmed."""

    opened: bool = False  # False: the kernel said that the guard is shut, and nothing was armed since
    in_flight: bool = False
    confirmed: bool = False  # the kernel confirmed an arming of this ownership
    renewal: float | None = None  # whose timer the last arming used: its `started_at`

    @property
    def shut(self) -> bool:
        """Nothing of this group can pass, and the kernel said so."""
        return not self.opened and not self.in_flight


@dataclass(frozen=True, slots=True)
class Steps:
    """How far this promotion or demotion has come."""

    running: Step | None = None
    done: frozenset[Step] = frozenset()
    retry_at: float = 0.0
    error: str = ""  # the last step's, for people
    hooked: bool = False  # the promote hook has been called, so the demote hook must be


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What an active group still needs: its addresses refreshed, or announced again."""

    refresh: bool = False
    announce: bool = False
    renewal: float | None = None  # of the last refresh: its `started_at`


@dataclass(frozen=True, slots=True)
class Campaign:
    """What campaigning for the group remembers."""

    sits_out_until: float = 0.0
    failed: bool = False  # a step did: it sits out what is offered or handed to it, too
    hand_to: SessionId | None = None
    ask: Ask | None = None
    preempt_since: float | None = None
    waits_for: str = ""  # why it does not take the group now, for people


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

    def list_steps_left(self, *, lost: bool) -> list[Step]:
        """The steps of the demotion that are not done yet, in order."""
        order = (Step.SHUT, Step.DEMOTE) if lost else (Step.DEMOTE, Step.RESET, Step.SHUT)
        return [
            step
            for step in order
            if not (step is Step.DEMOTE and not self.steps.hooked)
            and not (step is not Step.SHUT and step in self.steps.done)
            and not (step is Step.SHUT and self.arming.shut)
        ]


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
