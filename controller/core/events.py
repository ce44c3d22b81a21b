"""What happens to the core (events) and what it wants done (actions). Pure data.

Every moment is a reading of the local CLOCK_BOOTTIME in seconds. Every request gets exactly one answer: an effect that
fails, times out or is cancelled is answered with `Failed`, `Unsure` or a `Ran` that carries the error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controller.core.records import SessionId
from controller.stores.base import Entry, Version


class Step(StrEnum):
    """One stage of taking a group on or of giving it up."""

    BIND = "bind"  # addresses on the interface, cloud moves in parallel, verified
    ANNOUNCE = "announce"  # GARP and unsolicited NA, repeated over the next seconds in the background
    PROMOTE = "promote"  # the promote hook
    DEMOTE = "demote"  # the demote hook
    RESET = "reset"  # connections to the VIPs, while a RST can still leave
    SHUT = "shut"  # guard shut and the kernel said so; then the addresses go
    REFRESH = "refresh"  # bind again: longer lifetime, drift repaired


@dataclass(frozen=True, slots=True)
class Saved:
    """The state file: what a restarted daemon may go on with. Written after each confirmed beat."""

    session: SessionId
    beat: int
    boot_id: str
    node: str = ""


# --- events ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """The daemon holds the lock. `saved` is of this boot, or None. `open_groups`: what the guard lets pass."""

    session: SessionId  # never used before
    writer: str  # random, of this life
    saved: Saved | None = None
    open_groups: frozenset[str] = frozenset()
    open_slot: int | None = None
    wall_offset: float = 0.0  # Unix time minus this clock: seeds an epoch where none was seen, nothing else


@dataclass(frozen=True, slots=True)
class Minted:
    """A session id never used before, as `Mint` asked."""

    session: SessionId


@dataclass(frozen=True, slots=True)
class Cleared:
    """All is unbound and the guard is shut for all groups, as `Clear` asked; or the error that says it is not."""

    error: str | None = None


@dataclass(frozen=True, slots=True)
class TimerStarted:
    """The slot is disarmed and its timer runs. The clock was read at `at`, before the call."""

    slot: int
    at: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Armed:
    """The slot lets these groups pass while its timer runs."""

    slot: int
    groups: frozenset[str]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """The answer to `Read`. `sent_at`: the clock just before the request left."""

    request: int
    sent_at: float
    entries: Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class Failed:
    """`Read` had no answer."""

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
    """No answer to `Write`: it has landed, or will later, or never."""

    request: int
    error: str


@dataclass(frozen=True, slots=True)
class Ran:
    """A step ended. `error` is one line, None when it did what it should. `seconds`: how long it took."""

    group: str
    epoch: int
    step: Step
    error: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Judged:
    """Whether this node is fit to serve the group, after rise and fall; `why` names what decided."""

    group: str
    healthy: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Hint:
    """Something may have changed in the store: look now. `entries`: what it is now, or was a moment ago."""

    entries: Mapping[str, Entry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody asks for a planned switchover. `to`: a node's name, None for whoever is next."""

    group: str
    to: str | None


@dataclass(frozen=True, slots=True)
class PauseAsked:
    """Somebody asks to pause or resume the whole cluster."""

    paused: bool


@dataclass(frozen=True, slots=True)
class Drifted:
    """The kernel says that an address is gone, the carrier is back, and the like: bind and announce again."""

    group: str
    what: str


@dataclass(frozen=True, slots=True)
class GuardLost:
    """The guard was flushed and has been installed again, shut: begin a round at once."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Leave: hand every group over, then `Exit`."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has come (`Decision.wake_at`)."""


Event = (
    Started | Minted | Cleared | TimerStarted | Armed | Listed | Failed | Wrote | Refused | Unsure | Ran | Judged
    | Hint | Asked | PauseAsked | Drifted | GuardLost | Stop | Tick
)  # fmt: skip


# --- actions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Clear:
    """Shut the guard for all groups and unbind whatever is left behind. -> Cleared."""


@dataclass(frozen=True, slots=True)
class Mint:
    """Make a session id never used before. -> Minted."""


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
    """Write the state file. No answer; a failure is logged and costs adoption, not safety."""

    saved: Saved


@dataclass(frozen=True, slots=True)
class Exit:
    """Everything is handed over, or can't be: end the process. `keep`: leave the state file for adoption."""

    keep: bool = False


Action = Clear | Mint | StartTimer | Arm | Read | Write | Run | Save | Exit
