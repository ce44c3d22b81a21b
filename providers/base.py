"""The interface between the controller and the providers, which make addresses lead to this node."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Interface, IPv6Interface
from typing import NamedTuple, Protocol, runtime_checkable

from health.errors import AnyvipError

Vip = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class Grant:
    """The right to serve a group until `expires_at` (local CLOCK_BOOTTIME, seconds). `epoch` is the fencing token."""

    group: str
    epoch: int
    expires_at: float


class ProviderError(AnyvipError):
    """The platform refused or failed; the message says what, where, and what to do. A retry might succeed."""


class NotYet(ProviderError):  # noqa: N818  (a fact about the platform)
    """This host lacks something that can come later, such as an interface with an address."""


class Unanswered(ProviderError):  # noqa: N818  (likewise)
    """The platform did not answer; it might do so in a moment."""


class StaleGrant(ProviderError):  # noqa: N818  (an answer that the caller acts on)
    """The grant ended before the call could be made; the call changed nothing."""


class Place(StrEnum):
    """Where the addresses are, as the platform reports it."""

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
    """One line of `preflight`: what was checked, what was found, and what to do about it.

    `code` names the check, whatever its result: dotted lower-case words, the first of which names the area. A code is
    stable, so that programs can match it and docs/findings.md can explain it. The texts are for people, and may change.
    """

    level: Level
    code: str
    subject: str
    message: str
    remedy: str = ""


class Topic(NamedTuple):
    """The code and the subject of the finding that is reported when a whole check fails."""

    code: str
    subject: str


class Provider(Protocol):
    """Makes the VIPs of one group lead to this node, and takes that back."""

    async def bind(self, grant: Grant) -> None:
        """Make the VIPs lead here until the grant ends. Idempotent.

        Raises StaleGrant when the grant has ended or ends too soon, ProviderError when the platform refuses or fails.
        """

    async def unbind(self) -> None:
        """Stop making the VIPs lead here. Idempotent. Raises ProviderError."""

    async def inspect(self) -> Placement:
        """Ask the platform where the VIPs are. Raises ProviderError: a missing answer proves nothing."""

    async def preflight(self) -> list[Finding]:
        """Return what would break a failover, before a failover is needed."""


# Optional abilities of a provider: each is a Protocol of its own, and the controller asks with isinstance.


@runtime_checkable
class Lasting(Protocol):
    """A provider whose `bind` can take longer than a grant lasts."""

    async def extend(self, grant: Grant) -> None:
        """Take note that the grant was renewed while this or another provider of the group binds.

        Raises ProviderError.
        """


@runtime_checkable
class Announcer(Protocol):
    """A provider that must tell the LAN which node has the addresses now."""

    async def announce(self) -> None:
        """Send one announcement per VIP (GARP, unsolicited NA). Raises ProviderError."""


@runtime_checkable
class Resetter(Protocol):
    """A provider that can end the connections that clients hold to the VIPs."""

    async def reset(self) -> None:
        """Reset them while the address is still here: after that, no RST leaves. Raises ProviderError."""


@runtime_checkable
class Claimer(Protocol):
    """A provider that moves something besides the VIPs, such as a public address that leads to one of them."""

    @property
    def moves(self) -> frozenset[str]:
        """Return names of what it moves: the same on every node, whatever the group is called."""


@runtime_checkable
class Closer(Protocol):
    """A provider that holds resources: threads, connections, descriptors."""

    async def close(self) -> None:
        """Release them. Bound addresses stay until their lifetime ends. Raises nothing; can be called twice."""


@runtime_checkable
class Reconciled(Protocol):
    """A provider whose platform can make the VIPs lead elsewhere. The controller calls `inspect` from time to time.

    Its `bind` can take longer than a grant lasts: it continues for as long as the grant is renewed.
    """

    reconcile_seconds: float  # between two calls while the group is active; on a standby, calls are rare

    async def inspect(self) -> Placement:
        """See `Provider.inspect`."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the guard keeps shut for one group: addresses, and the names of the interfaces where it does so."""

    vips: tuple[Vip, ...]
    interfaces: tuple[str, ...]


@runtime_checkable
class Guardable(Protocol):
    """A provider that binds addresses in this host's kernel, where the guard can shut them."""

    def guarded(self) -> Guarded:
        """Return what the guard must keep shut, on the links that exist now. Raises ProviderError."""


@runtime_checkable
class Linked(Protocol):
    """A provider that depends on links of this host."""

    @property
    def interfaces(self) -> frozenset[str]:
        """Return the names of the links where the VIPs are bound."""


@runtime_checkable
class Adaptable(Protocol):
    """A provider that depends on this host's addresses and routes."""

    async def adapt(self) -> None:
        """Follow a change of this host's addresses or routes, if the VIPs are bound. Raises ProviderError."""


@runtime_checkable
class Unguardable(Protocol):
    """A provider that must know when there is no guard, because then no address is allowed to outlast its grant."""

    unguarded: bool  # set once, before anything is bound


@dataclass(frozen=True, slots=True)
class GuardState:
    """What the kernel lets pass right now: the groups that are open, and the slot that keeps them open."""

    open_groups: frozenset[str]
    slot: int | None


class Guard(Protocol):
    """The kernel's dead-man's switch. It has two slots, each with one timer for the node and a set of armed groups.

    A group's traffic passes while the timer of a slot runs and the group is armed in that slot. The daemon starts a
    timer *before* a renewal leaves and arms the groups when the reply has arrived. If the daemon was frozen in between
    until the timer ended, arming that slot opens nothing.
    """

    async def start(self, slot: int, seconds: float) -> None:
        """Disarm every group of the slot and restart its timer, in one transaction. Raises ProviderError."""

    async def arm(self, slot: int, groups: Collection[str]) -> None:
        """Let these groups pass while the slot's timer runs. Raises ProviderError."""

    async def shut(self, groups: Collection[str]) -> None:
        """Disarm these groups in both slots. When it returns, the kernel lets none of their traffic pass."""

    async def inspect(self) -> GuardState:
        """Ask the kernel what is open. Raises ProviderError when the guard is not installed."""


Plan = Mapping[str, Guarded]
