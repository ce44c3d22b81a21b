"""The inputs of the core (events) and its outputs (actions). Pure data.

Every moment is a reading of the local CLOCK_BOOTTIME, in seconds. Every action except `Save` and `Exit` gets exactly
one answer. An effect that fails, times out or is cancelled is answered with `Failed`, with `Unsure`, or with an event
that carries an `error`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controller.core.records import SessionId
from controller.stores.base import Entry, Version


class Step(StrEnum):
    """One step of taking a group up, keeping it or giving it up."""

    BIND = "bind"  # put the addresses on the interface, move clouds in parallel, verify
    PREPARE = "prepare"  # run the prepare hook, with the addresses bound and the guard shut
    ANNOUNCE = "announce"  # send GARP and unsolicited NA; repeat them in the background over the next seconds
    PROMOTE = "promote"  # run the promote hook
    DEMOTE = "demote"  # run the demote hook
    RESET = "reset"  # reset connections to the VIPs while a RST can still leave
    SHUT = "shut"  # shut the guard, confirmed by the kernel; then remove the addresses
    CLEANUP = "cleanup"  # run the cleanup hook, with the guard shut and the addresses gone
    REFRESH = "refresh"  # bind again: extend lifetimes, repair drift


@dataclass(frozen=True, slots=True)
class Saved:
    """The state file, from which a restarted daemon can adopt the session. Written after each confirmed beat."""

    session: SessionId
    beat: int
    boot_id: str
    node: str = ""
    pause: str = ""  # the id of the pause that this node has seen
    paused_at: float = 0.0  # when it first saw it


# --- events ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """The daemon has taken its lock. `saved` is from this boot, or None. The guard lets `open_groups` pass."""

    session: SessionId  # never used before
    writer: str  # a random name for this life
    saved: Saved | None = None
    open_groups: frozenset[str] = frozenset()
    open_slot: int | None = None
    wall_offset: float = 0.0  # Unix time minus this clock; sets the first epoch of a new record, and what people read


@dataclass(frozen=True, slots=True)
class Minted:
    """The answer to `Mint`: a session id that was never used before."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class Cleared:
    """The answer to `Clear`: everything is unbound and the guard is shut for all groups, unless `error` is set."""

    error: str | None = None


@dataclass(frozen=True, slots=True)
class TimerStarted:
    """The answer to `StartTimer`: the slot is disarmed and its timer runs. `at` is the clock before the call."""

    slot: int
    at: float
    error: str | None = None
    wall_offset: float | None = None  # Unix time minus this clock


@dataclass(frozen=True, slots=True)
class Armed:
    """The answer to `Arm`: the slot lets these groups pass while its timer runs."""

    slot: int
    groups: frozenset[str]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """The answer to `Read`. `sent_at` is the clock just before the request left."""

    request: int
    sent_at: float
    entries: Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer to `Read`."""

    request: int
    error: str


@dataclass(frozen=True, slots=True)
class Wrote:
    """The answer to `Write`: it landed."""

    request: int
    sent_at: float
    version: Version


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer to `Write`: the key is at another version."""

    request: int


@dataclass(frozen=True, slots=True)
class Unsure:
    """No answer to `Write`: it has landed, will land later, or never lands."""

    request: int
    error: str


@dataclass(frozen=True, slots=True)
class Ran:
    """The answer to `Run`: the step has ended. `error` is one line, or None on success. `seconds` is the duration."""

    group: str
    epoch: int
    step: Step
    error: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict of the checks, after rise and fall: is this node fit for the group? `why` names what decided."""

    group: str
    healthy: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Hint:
    """Something might have changed in the store. `entries` shows keys as they are, or were a moment ago."""

    entries: Mapping[str, Entry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """An operator asks for a planned switchover. `to` is a node's name, or None for the next in rank.

    `ticket` is the number of the request, by which it can be withdrawn. Each request of a life has a higher one.
    """

    group: str
    to: str | None
    ticket: int = 0
    by: str = ""  # who asks, for people to read


@dataclass(frozen=True, slots=True)
class PauseAsked:
    """An operator asks to pause or resume the whole cluster. `Cluster` explains `lasts`, `by`, `why` and `at`."""

    paused: bool
    ticket: int = 0
    lasts: float = 0.0
    by: str = ""
    why: str = ""
    at: int = 0


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """An operator's request has failed: nothing of it is to happen later. `group` is None for a pause."""

    ticket: int
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Drifted:
    """The group drifted (an address is gone, the carrier is back, or the like): bind and announce again."""

    group: str
    what: str


@dataclass(frozen=True, slots=True)
class GuardLost:
    """The guard was flushed and has been installed again, shut: begin a round immediately."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The daemon is to leave: hand every group over, then `Exit`."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The moment `Decision.wake_at` has come."""


Event = (
    Started | Minted | Cleared | TimerStarted | Armed | Listed | Failed | Wrote | Refused | Unsure | Ran | Judged
    | Hint | Asked | PauseAsked | Withdrawn | Drifted | GuardLost | Stop | Tick
)  # fmt: skip


# --- actions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Clear:
    """Shut the guard for all groups and unbind whatever an earlier life left. -> Cleared."""


@dataclass(frozen=True, slots=True)
class Mint:
    """Make a session id that was never used before. -> Minted."""


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Disarm the guard's slot and start its timer. -> TimerStarted."""

    slot: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Arm:
    """Arm these groups in the guard's slot. -> Armed."""

    slot: int
    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Read:
    """Read everything under the cluster's prefix. -> Listed | Failed."""

    request: int


@dataclass(frozen=True, slots=True)
class Write:
    """Swap one key. -> Wrote | Refused | Unsure."""

    request: int
    key: str
    value: bytes | None  # None deletes
    expected: Version | None  # None creates


@dataclass(frozen=True, slots=True)
class Run:
    """Carry out one step of a group. `expires_at` is when the grant ends. -> Ran."""

    group: str
    epoch: int
    step: Step
    expires_at: float
    role: str
    reason: str


@dataclass(frozen=True, slots=True)
class Save:
    """Write the state file. There is no answer; a failure is logged and costs adoption, not safety."""

    saved: Saved


@dataclass(frozen=True, slots=True)
class Exit:
    """End the process: everything is handed over, or cannot be. `keep` leaves the state file for adoption."""

    keep: bool = False


Action = Clear | Mint | StartTimer | Arm | Read | Write | Run | Save | Exit
