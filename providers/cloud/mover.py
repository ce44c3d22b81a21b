"""What the author of a cloud's mechanism writes: a `Mover`, its optional abilities, and the keys that all share."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from providers.base import Finding, Placement
from providers.cloud.deadline import Deadline


class MovingOptions(BaseModel):
    """The configuration keys that the providers of all clouds share."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reconcile_seconds: float = Field(
        default=120.0,
        ge=5,
        le=86400,
        allow_inf_nan=False,
        description="Seconds between checks whether the cloud still leads here, while active. The first ones come "
        "sooner: 1, 2, 5, 10 and 30 seconds after taking over.",
    )

    move_seconds: float = Field(
        default=20.0,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="Seconds that a move can take until it is seen. After that, another node has its turn.",
    )

    @property
    def moves(self) -> frozenset[str]:
        """Return what moves besides the VIPs (see `providers.base.Claimer`)."""
        return frozenset()


class Mover(Protocol):
    """One mechanism of one cloud, for the VIPs of one group.

    `until` is the time after which no call is allowed to leave. It follows the grant, which can end sooner or be
    renewed meanwhile; `Calls` checks it before each call leaves.

    A mover can also be a `Warmer`, a `Starter` and a `SyncCloser`.
    """

    async def move(self, until: Deadline) -> None:
        """Make the network lead here, wherever it leads now. Idempotent. Raises ProviderError."""

    async def leave(self, until: Deadline) -> None:
        """Give up what is still ours, and only that: the next owner might have it already. Raises ProviderError.

        Whatever the next owner's `move` takes by itself need not be given up, because the release waits for this call.
        """

    async def look(self, until: Deadline) -> Placement:
        """Ask where the network leads. Raises ProviderError: a missing answer proves nothing."""

    async def preflight(self) -> list[Finding]:
        """Return what would keep `move` from working, and what to do about it."""


# Optional abilities of a mover: `Moving` asks with isinstance, once, when it is made.


@runtime_checkable
class Warmer(Protocol):
    """A mover that a standby can keep ready."""

    async def warm(self, until: Deadline) -> None:
        """Make clients, fetch credentials and open connections, so that `move` finds them ready.

        Raises ProviderError.
        """


@runtime_checkable
class Starter(Protocol):
    """A mover whose writes carry the epoch."""

    def begin(self, epoch: int) -> None:
        """Begin a promotion with this epoch; its moves follow. Raises nothing."""


@runtime_checkable
class SyncCloser(Protocol):
    """A mover that holds clients or connections."""

    def close(self) -> None:
        """Close them. Raises nothing."""
