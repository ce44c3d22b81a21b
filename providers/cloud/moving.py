"""VIPs that a cloud's network leads to one machine or another: a `Provider` made of a cloud's `Mover`.

The network is asked when a promotion begins and when it is known to lead elsewhere, never with each renewal. Where the
guest must have the addresses, too, they are bound here at the same time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field

from providers.baremetal.provider import BareMetal
from providers.base import Finding, Grant, Guarded, Place, Placement, ProviderError, StaleGrant
from providers.cloud.calls import Calls, together
from providers.cloud.deadline import Deadline, GrantEnd

_log = logging.getLogger(__name__)

_LEAVE_SECONDS: Final = 3.0  # within what the controller gives `unbind`: the release waits for it
_LOOK_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS: Final = 0.05  # between looks whether a move shows already; doubled each time
_LONGEST_PAUSE_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 2.0  # what leads elsewhere for as long is moved again: a late call of another came after


class MovingOptions(BaseModel):
    """The configuration keys that all providers of clouds have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reconcile_seconds: float = Field(
        default=120.0,
        ge=5,
        le=86400,
        allow_inf_nan=False,
        description="Seconds between looks whether the cloud still leads here, while active. The first ones come "
        "sooner: 1, 2, 5, 10 and 30 seconds after taking over.",
    )

    move_seconds: float = Field(
        default=20.0,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="Seconds that a move may take until it is seen, before another node is given a try.",
    )


class Mover(Protocol):
    """One mechanism of one cloud, for the VIPs of one group. `until`: when no call may leave any more.

    The grant may end before, or be renewed meanwhile: `until` knows it, and `Calls` asks it before each call leaves.

    It may be a `Warmer`, a `Starter` and a `SyncCloser`, too.
    """

    async def move(self, until: Deadline) -> None:
        """Make the network lead here, from wherever it leads now. Idempotent. Raises ProviderError."""

    async def leave(self, until: Deadline) -> None:
        """Give up what is still ours, and only that: the next owner may have it already. Raises ProviderError.

        Nothing that its `move` does away with anyhow need be given up: the release waits for this.
        """

    async def look(self, until: Deadline) -> Placement:
        """Ask where the network leads. Raises ProviderError: no answer is not evidence of anything."""

    async def preflight(self) -> list[Finding]:
        """What would keep `move` from working, and what to do about it."""


# What a mover may be able to do besides: `Moving` asks with isinstance, once, when it is made.


@runtime_checkable
class Warmer(Protocol):
    """A mover that can be kept ready on the standby."""

    async def warm(self, until: Deadline) -> None:
        """Make clients, fetch credentials and open connections, so that `move` need not. Raises ProviderError."""


@runtime_checkable
class Starter(Protocol):
    """A mover whose writes carry the epoch."""

    def begin(self, epoch: int) -> None:
        """A promotion with this epoch begins; its moves follow. Raises nothing."""


@runtime_checkable
class SyncCloser(Protocol):
    """A mover that holds clients or connections."""

    def close(self) -> None:
        """Give them back. Raises nothing."""


class Moving:
    """The VIPs of one group, moved by `mover` (`providers.base.Provider`)."""

    def __init__(  # noqa: PLR0913  (its parts, each given by name)
        self,
        mover: Mover,
        calls: Calls,
        *,
        group: str,
        clock: Callable[[], float],
        options: MovingOptions,
        local: BareMetal | None = None,
    ) -> None:
        """`calls` are the mover's; both are closed with this. `local` binds the VIPs in the guest, unannounced."""
        self.reconcile_seconds = options.reconcile_seconds
        self._move_seconds = options.move_seconds
        self._mover = mover
        self._warmer = mover if isinstance(mover, Warmer) else None
        self._starter = mover if isinstance(mover, Starter) else None
        self._calls = calls
        self._group = group
        self._clock = clock
        self._grant = GrantEnd()  # every deadline made here knows it
        self._local = local
        if local is not None:
            local.announced = False
        self._epoch: int | None = None  # the one that the network was seen to lead here for
        self._began = False  # whether this life has moved anything since it last left
        self._astray = False  # a look has shown that the network leads here no longer
        self._repairing: asyncio.Task[None] | None = None

    # --- Provider ---

    async def bind(self, grant: Grant) -> None:
        """Make the network lead here, seen to do so; once that is done for this epoch, renew the guest's part only.

        What has gone astray meanwhile is moved again beside that: no renewal of addresses waits for a cloud.
        """
        if grant.expires_at <= self._clock():
            raise StaleGrant(f"group {grant.group}: the grant has ended")
        self._grant.at = grant.expires_at
        if grant.epoch == self._epoch:
            self._repair(grant.epoch)
            await self._bind_local(grant)
            return
        self._began = True
        await together([self._bind_local(grant), self._moved(grant.epoch)])
        self._epoch, self._astray = grant.epoch, False

    async def extend(self, grant: Grant) -> None:
        """See `providers.base.Lasting`: what is being moved now may be for as long as this grant."""
        self._grant.at = grant.expires_at
        if self._local is not None:
            await self._local.extend(grant)

    async def unbind(self) -> None:
        """Remove the addresses here, then leave the network what is the next owner's to move.

        A cloud that fails to answer holds up nobody: what is left there leads to a machine that refuses it.
        """
        self._epoch = None
        self._grant.at = 0.0  # no call of this grant leaves any more, whenever its thread comes to it
        self._grant = GrantEnd()
        await self._stop_repairing()
        if self._local is not None:
            await self._local.unbind()
        until = self._within(_LEAVE_SECONDS)
        await self._calls.settled(until)  # a move that was given up may still land: not after what follows
        if self._began:
            await self._leave(until)

    async def inspect(self) -> Placement:
        """Ask the cloud. On a standby this also keeps what a move needs ready."""
        until = self._within(_LOOK_SECONDS)
        epoch = self._epoch
        if epoch is None and self._warmer is not None:
            await self._warmer.warm(until)
        found = await self._mover.look(until)
        if epoch is not None and epoch == self._epoch:
            self._astray = found.place is not Place.HERE
        return found

    async def preflight(self) -> list[Finding]:
        """What would break a failover, in the cloud and here."""
        here = [] if self._local is None else await self._local.preflight()
        return [*await self._mover.preflight(), *here]

    async def close(self) -> None:
        """Give everything back. What is moved stays so."""
        await self._stop_repairing()
        self._calls.close()
        if isinstance(self._mover, SyncCloser):
            self._mover.close()
        if self._local is not None:
            await self._local.close()

    # --- the guest's part ---

    @property
    def unguarded(self) -> bool:
        """See `BareMetal.unguarded`."""
        return self._local is not None and self._local.unguarded

    @unguarded.setter
    def unguarded(self, unguarded: bool) -> None:
        if self._local is not None:
            self._local.unguarded = unguarded

    @property
    def interfaces(self) -> frozenset[str]:
        """Where the VIPs are bound here."""
        return frozenset() if self._local is None else self._local.interfaces

    def guarded(self) -> Guarded:
        """What the guard must keep shut here. Raises ProviderError."""
        return Guarded((), ()) if self._local is None else self._local.guarded()

    async def reset(self) -> None:
        """Reset the TCP connections to the VIPs."""
        if self._local is not None:
            await self._local.reset()

    async def _bind_local(self, grant: Grant) -> None:
        if self._local is not None:
            await self._local.bind(grant)

    # --- the network's part ---

    def _within(self, seconds: float) -> Deadline:
        return Deadline.within(seconds, self._clock, self._grant)

    async def _moved(self, epoch: int) -> None:
        """Move, and see that it shows. Raises ProviderError that says what shows instead."""
        began_at = self._clock()
        until = self._within(self._move_seconds)
        if self._starter is not None:
            self._starter.begin(epoch)
        await self._mover.move(until)
        moved_at = self._clock()
        while not await self._shown(until):
            await self._mover.move(until)
        _log.info(
            "group %s: the network leads here after %.3f s, seen after %.3f s",
            self._group, moved_at - began_at, self._clock() - began_at,
        )  # fmt: skip

    async def _shown(self, until: Deadline) -> bool:
        """Wait until the platform's answer is that it leads here. What was written may show late.

        False: it has been leading elsewhere for so long that it must be moved again.
        """
        pause, again_at = _FIRST_PAUSE_SECONDS, self._clock() + _AGAIN_SECONDS
        shows = "nothing yet"
        while True:
            try:
                found = await self._mover.look(until)
            except StaleGrant as error:
                raise ProviderError(f"moved, but not seen: the platform shows {shows}") from error
            except ProviderError as error:
                shows = f"no answer ({error})"
            else:
                if found.place is Place.HERE:
                    return True
                shows = f"{found.place}: {found.where}" if found.where else str(found.place)
                if again_at <= self._clock() and until.waiting() > pause:
                    return False
            if until.waiting() <= pause:
                raise ProviderError(f"moved, but not seen: the platform shows {shows}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _repair(self, epoch: int) -> None:
        """Begin to move again what has gone astray. Whether it helped is for the next look to say."""
        if self._astray and (self._repairing is None or self._repairing.done()):
            self._astray = False
            self._repairing = asyncio.create_task(self._moved_again(epoch), name=f"repair of {self._group}")

    async def _moved_again(self, epoch: int) -> None:
        try:
            await self._moved(epoch)
        except Exception as error:  # noqa: BLE001  (an SDK's own kind of error, too; nobody waits for this task)
            _log.warning("group %s: the network led elsewhere, and cannot be moved yet: %s", self._group, error)

    async def _stop_repairing(self) -> None:
        task, self._repairing = self._repairing, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _leave(self, until: Deadline) -> None:
        try:
            await self._mover.leave(until)
        except Exception as error:  # noqa: BLE001  (likewise)
            _log.warning("group %s: not taken back in the network, the next owner will: %s", self._group, error)
        else:
            self._began = False
