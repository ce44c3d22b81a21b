"""VIPs that a cloud's network leads to one machine or another: a `Provider` built on a cloud's `Mover`.

The provider moves the network when a promotion begins and when the network is known to lead elsewhere, never with each
renewal. If the guest must have the addresses, too, they are bound here at the same time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from providers.baremetal.provider import BareMetal
from providers.base import Finding, Grant, Guarded, Place, Placement, ProviderError, StaleGrant
from providers.cloud.calls import Calls, together
from providers.cloud.deadline import Deadline, GrantEnd
from providers.cloud.mover import Mover, MovingOptions, Starter, SyncCloser, Warmer

_log = logging.getLogger(__name__)

_LEAVE_SECONDS: Final = 3.0  # less than the controller allows `unbind`: the release waits for it
_LOOK_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS: Final = 0.05  # between checks whether a move shows; doubled each time
_LONGEST_PAUSE_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 2.0  # VIPs that lead elsewhere for this long are moved again: another node's call came late


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
        """`calls` are the mover's; `close` closes both. `local` binds the VIPs in the guest, without announcements."""
        self.reconcile_seconds = options.reconcile_seconds
        self.moves = options.moves
        self._move_seconds = options.move_seconds
        self._mover = mover
        self._warmer = mover if isinstance(mover, Warmer) else None
        self._starter = mover if isinstance(mover, Starter) else None
        self._calls = calls
        self._group = group
        self._clock = clock
        self._grant = GrantEnd()  # shared by every deadline made here
        self._local = local
        if local is not None:
            local.announced = False
        self._epoch: int | None = None  # the epoch for which the network was seen to lead here
        self._began = False  # whether this life has moved anything since it last left
        self._astray = False  # True: a check has shown that the network no longer leads here
        self._repairing: asyncio.Task[None] | None = None

    # --- Provider ---

    async def bind(self, grant: Grant) -> None:
        """Make the network lead here and wait until it shows. Once it has for this epoch, renew only the guest's part.

        VIPs that have gone astray since are moved again in the background: no renewal of addresses waits for a cloud.
        """
        if grant.expires_at <= self._clock():
            raise StaleGrant(f"group {grant.group}: the grant has ended")
        self._grant.at = grant.expires_at
        if grant.epoch == self._epoch:
            self._repair(grant.epoch)
            await self._bind_local(grant)
            return
        self._began = True
        await together([self._bind_local(grant), self._move(grant.epoch)])
        self._epoch, self._astray = grant.epoch, False

    async def extend(self, grant: Grant) -> None:
        """See `providers.base.Lasting`: a move under way can then last as long as this grant."""
        self._grant.at = grant.expires_at
        if self._local is not None:
            await self._local.extend(grant)

    async def unbind(self) -> None:
        """Remove the addresses here, then give up what the next owner could not take by itself.

        A cloud that does not answer does not delay the release: what is left there leads to a machine that refuses it.
        """
        self._epoch = None
        self._grant.at = 0.0  # no call of this grant leaves any more, whenever its thread comes to it
        self._grant = GrantEnd()
        await self._stop_repairing()
        if self._local is not None:
            await self._local.unbind()
        until = self._within(_LEAVE_SECONDS)
        await self._calls.settled(until)  # a move that was given up must not take effect after what follows
        if self._began:
            await self._leave(until)

    async def inspect(self) -> Placement:
        """Ask the cloud where the VIPs are. On a standby, this also keeps ready what a move needs."""
        until = self._within(_LOOK_SECONDS)
        epoch = self._epoch
        if epoch is None and self._warmer is not None:
            await self._warmer.warm(until)
        found = await self._mover.look(until)
        if epoch is not None and epoch == self._epoch:
            self._astray = found.place is not Place.HERE
        return found

    async def preflight(self) -> list[Finding]:
        """Return what would break a failover, in the cloud and here."""
        here = [] if self._local is None else await self._local.preflight()
        return [*await self._mover.preflight(), *here]

    async def close(self) -> None:
        """Release everything. The network continues to lead where it does."""
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
        """Return the names of the links where the VIPs are bound here."""
        return frozenset() if self._local is None else self._local.interfaces

    async def adapt(self) -> None:
        """See `BareMetal.adapt`."""
        if self._local is not None:
            await self._local.adapt()

    def guarded(self) -> Guarded:
        """Return what the guard must keep shut here. Raises ProviderError."""
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

    async def _move(self, epoch: int) -> None:
        """Move the network and wait until the move shows. Raises ProviderError that names what shows instead."""
        began_at = self._clock()
        until = self._within(self._move_seconds)
        if self._starter is not None:
            self._starter.begin(epoch)
        await self._mover.move(until)
        moved_at = self._clock()
        while not await self._wait_until_shown(until):
            await self._mover.move(until)
        _log.info(
            "group %s: the network leads here after %.3f s, seen after %.3f s",
            self._group, moved_at - began_at, self._clock() - began_at,
        )  # fmt: skip

    async def _wait_until_shown(self, until: Deadline) -> bool:
        """Wait until the platform reports that the network leads here; a move can show late.

        Return False when it has led elsewhere for so long that it must be moved again.
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
        """Begin to move VIPs again that have gone astray. The next check shows whether it helped."""
        if self._astray and (self._repairing is None or self._repairing.done()):
            self._astray = False
            self._repairing = asyncio.create_task(self._move_again(epoch), name=f"repair of {self._group}")

    async def _move_again(self, epoch: int) -> None:
        try:
            await self._move(epoch)
        except Exception as error:  # noqa: BLE001  (also an SDK's own errors; no caller awaits this task)
            _log.warning("group %s: the network leads elsewhere and cannot be moved back yet: %s", self._group, error)

    async def _stop_repairing(self) -> None:
        task, self._repairing = self._repairing, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _leave(self, until: Deadline) -> None:
        try:
            await self._mover.leave(until)
        except Exception as error:  # noqa: BLE001  (likewise)
            _log.warning("group %s: not given up in the network, the next owner takes it: %s", self._group, error)
        else:
            self._began = False
