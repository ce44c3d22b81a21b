"""The contract between the controller and whatever makes an address lead to this node."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Interface, IPv6Interface
from typing import Protocol, runtime_checkable

Vip = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class Grant:
    """The right to serve a group until `expires_at` (local CLOCK_BOOTTIME, seconds). `epoch` is the fencing token."""

    group: str
    epoch: int
    expires_at: float


class ProviderError(Exception):
    """The platform refused or failed; the message says what, where, and what to do. Somebody may retry."""


class Unanswered(ProviderError):  # noqa: N818  (what is known of it)
    """Somebody did not answer; in a moment it may be otherwise."""


class StaleGrant(ProviderError):  # noqa: N818  (an answer that the caller acts on)
    """The grant ended before the call could be made; nothing was changed by it."""


class Place(StrEnum):
    """Where the platform says that the addresses are."""

    HERE = "here"
    ELSEWHERE = "elsewhere"
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class Placement:
    """What the platform answered; `where` names the other holder, or what is missing."""

    place: Place
    where: str = ""


class Level(StrEnum):
    """How bad a finding is: an ERROR would break a failover."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `preflight`: what was looked at, what was found, and what to do about it."""

    level: Level
    subject: str
    message: str
    remedy: str = ""


class Provider(Protocol):
    """Makes the VIPs of one group lead to this node, or no longer."""

    async def bind(self, grant: Grant) -> None:
        """Make the VIPs lead here until the grant ends. Idempotent. Raises StaleGrant when too late, ProviderError."""

    async def unbind(self) -> None:
        """Make the VIPs lead here no longer. Idempotent. Raises ProviderError."""

    async def inspect(self) -> Placement:
        """Ask the platform where the VIPs are. Raises ProviderError: no answer is not evidence of anything."""

    async def preflight(self) -> list[Finding]:
        """What would break a failover, before there is one."""


# What a provider may be able to do besides: each is a Protocol of its own, and the controller asks with isinstance.


@runtime_checkable
class Preparer(Protocol):
    """A provider that can look up in advance what it needs to bind."""

    def prepare(self) -> None:
        """The group may be ours in a moment. Returns at once, changes nothing, raises nothing."""


@runtime_checkable
class Lasting(Protocol):
    """A provider whose `bind` may take longer than a grant lasts."""

    async def extend(self, grant: Grant) -> None:
        """The grant was renewed while this or another provider of the group binds. Raises ProviderError."""


@runtime_checkable
class Announcer(Protocol):
    """A provider that must tell the LAN whose the addresses are now."""

    async def announce(self) -> None:
        """Send one announcement per VIP (GARP, unsolicited NA). Raises ProviderError."""


@runtime_checkable
class Resetter(Protocol):
    """A provider that can end the connections that clients hold to the VIPs."""

    async def reset(self) -> None:
        """Reset them, while the address is still here: later no RST leaves. Raises ProviderError."""


@runtime_checkable
class Closer(Protocol):
    """A provider that holds something: threads, connections, descriptors."""

    async def close(self) -> None:
        """Give it back. What is bound stays so, until its lifetime ends. Raises nothing; may be called twice."""


@runtime_checkable
class Reconciled(Protocol):
    """A provider whose platform may come to lead elsewhere, so that `inspect` is asked now and then.

    Its `bind` may take longer than a grant lasts: it goes on for as long as the grant is renewed.
    """

    reconcile_seconds: float  # between two questions while the group is active; a standby is asked rarely

    async def inspect(self) -> Placement:
        """As `Provider.inspect` says."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the guard keeps shut for one group: these addresses, on these interfaces (names)."""

    vips: tuple[Vip, ...]
    interfaces: tuple[str, ...]


@runtime_checkable
class Guardable(Protocol):
    """A provider that binds addresses in this host's kernel, where the guard can shut them."""

    def guarded(self) -> Guarded:
        """What the guard must keep shut, on the links that there are now. Raises ProviderError."""


@runtime_checkable
class Linked(Protocol):
    """A provider that the links of this host concern."""

    @property
    def interfaces(self) -> frozenset[str]:
        """The names of those where the VIPs are bound."""


@runtime_checkable
class Unguardable(Protocol):
    """A provider that must know when there is no guard, so that no address may outlast its grant."""

    unguarded: bool  # set once, before anything is bound


@dataclass(frozen=True, slots=True)
class GuardState:
    """What the kernel lets pass right now: the groups that are open, and the slot that keeps them so."""

    open_groups: frozenset[str]
    slot: int | None


class Guard(Protocol):
    """The kernel's dead-man's switch. Two slots, each with one timer for the node and a set of armed groups.

    A group's traffic passes while, in one slot, the timer runs and the group is armed. So a timer is started
    *before* a renewal leaves and the groups are armed when the reply is there: a daemon that was frozen in between
    arms a slot whose timer has ended, which opens nothing.
    """

    async def start(self, slot: int, seconds: float) -> None:
        """In one transaction: disarm every group of the slot, and start its timer anew. Raises ProviderError."""

    async def arm(self, slot: int, groups: Collection[str]) -> None:
        """Let these groups pass while the slot's timer runs. Raises ProviderError."""

    async def shut(self, groups: Collection[str]) -> None:
        """Disarm these groups in both slots. When it returns, the kernel lets nothing of them pass."""

    async def inspect(self) -> GuardState:
        """Ask the kernel what is open. Raises ProviderError when the guard is not installed."""


Plan = Mapping[str, Guarded]
