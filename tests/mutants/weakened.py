"""Weaker rules, kernels and guards: each lacks one thing. `election.py` states what happens without it."""

# ruff: noqa: ARG002  (a removed rule ignores its arguments)
from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from controller.core.records import Ownership, Record, Session, SessionId
from controller.core.rules import Rules
from controller.stores.base import Version
from providers.base import ProviderError
from tests.simulation.effects import SimulatedGuard
from tests.simulation.kernel import Kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from controller.core.state import State
    from tests.simulation.process import Process
    from tests.simulation.world import Clock, World

# --- rules of the core -------------------------------------------------------------------------------------------


class StampReply(Rules):
    def renewed_at(self, started_at: float, replied_at: float) -> float:
        return replied_at


class GroupStamp(Rules):
    def grant_ends(self, renewed_at: float, confirmed_at: float, renew_deadline: float) -> float:
        return renew_deadline + confirmed_at


class NoFence(Rules):
    def needs_fence(self) -> bool:
        return False


class Whatever(str):
    """A version that every version is equal to."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


class BlindFence(Rules):
    def fence_version(self, watched: Version) -> Version:
        return Version(Whatever(watched))


class NoWatchFence(Rules):
    def watched(self, since: float, now: float, lease_duration: float) -> bool:
        return True


class NoWatchMissingSession(Rules):
    def missing_watched(self, since: float, now: float, lease_duration: float) -> bool:
        return True


class NoWatchNewGroup(Rules):
    def new_group_watched(self, since: float, now: float, lease_duration: float) -> bool:
        return True


class BeginsOwned(Rules):
    def begins_unowned(self) -> bool:
        return False


class ReleaseFirst(Rules):
    def may_release(self, shut: bool) -> bool:
        return True


class GivenRead(Rules):
    def reading_is_enough(self, adoptable: bool) -> bool:
        return True


class ReadHanded(Rules):
    def handing_is_enough(self, handed: bool) -> bool:
        return True


class HintStampArrival(Rules):
    def there_at(self, there_at: float, arrived_at: float) -> float:
        return arrived_at


class HintAlone(Rules):
    """Removes `grows`, too: while owners change less than once a second, a low epoch would reveal the old handover."""

    def grows(self, seen: int, epoch: int) -> bool:
        return True

    def follows(self, seen: Version | None, after: str | None) -> bool:
        return True


class ReadRace(Rules):
    def answer_counts(self, sent_at: float, completed_at: float) -> bool:
        return True


class ReadStampReply(Rules):
    def confirmed_at(self, sent_at: float, replied_at: float) -> float:
        return replied_at


class NoGroupRead(Rules):
    def still_ours(self, record: Ownership | None, me: SessionId) -> bool:
        return record is None or record.session is None or super().still_ours(record, me)


class NoTombstone(Rules):
    """Removes the check of the beat, too: a low beat would reveal the revived session."""

    def needs_tombstone(self) -> bool:
        return False

    def session_over(self, record: Session | None, known_beat: int) -> bool:
        return record is None or record.fenced


class Recreate(Rules):
    def session_over(self, record: Session | None, known_beat: int) -> bool:
        return record is not None and super().session_over(record, known_beat)


class OlderIsOurs(Rules):
    def session_over(self, record: Session | None, known_beat: int) -> bool:
        return record is None or record.fenced


class NoInitUnbind(Rules):
    def clears_at_start(self) -> bool:
        return False


class AdoptOpen(Rules):
    def may_adopt(self, guard_was_open: bool) -> bool:
        return True


class ForgetEpoch(Rules):
    def first_epoch(self, seen: int, unix_time: float) -> int:
        return 1


class RestoreInstant(Rules):
    def went_back(self, seen: int | None, new: Record | None) -> bool:
        return False


class ForgetGone(Rules):
    def remembers_gone(self) -> bool:
        return False


class NeverSitsOut(Rules):
    def sits_out(self, until: float, now: float) -> bool:
        return False


# --- claims ------------------------------------------------------------------------------------------------------


class NoClear(Rules):
    def needs_clear(self, uses: frozenset[str], clear: frozenset[str]) -> bool:
        return True


class EarlyLook(Rules):
    def look_counts(self, sent_at: float, said_at: float) -> bool:
        return True


class DropsClaim(Rules):
    def keeps_claim(self, in_use: frozenset[str], *, shut: bool) -> frozenset[str]:
        return frozenset()


class MissingIgnored(Rules):
    def missing_blocks(self) -> bool:
        return False


class GoesOn(Rules):
    def clear_lasts(self, gap: float, renew_deadline: float) -> bool:
        return True


class AdoptsForEver(Rules):
    def adopts_until(self, found_at: float, renew_deadline: float) -> float:
        return inf


class ForgetsSession(Rules):
    def remembers_session(self) -> bool:
        return False


class UnknownIgnored(Rules):
    def unknown_blocks(self) -> bool:
        return False


class AdoptsAnything(Rules):
    """Removes the gap, too: it ends the claims of a group that the new life finds shut."""

    def adopts_claim(self, same: bool) -> bool:
        return True

    def clear_lasts(self, gap: float, renew_deadline: float) -> bool:
        return True


class TrustsOld(Rules):
    def record_counts(self, anew: bool) -> bool:
        return True


def use_at_once(state: State, group: str, tokens: frozenset[str]) -> bool:
    """A `controller.core.claims.may_use` that never waits."""
    return True


# --- the kernel and the guard ---------------------------------------------------------------------------------


class Forever(Kernel):
    """A kernel whose timers never end."""

    def lasts(self, seconds: float) -> float:
        return inf


class Windows(Kernel):
    """A guard without slots: each group has one timer, which runs for the rest of the grant."""

    def __init__(self, world: World, clock: Clock, overshoot: Callable[[], float]) -> None:
        super().__init__(world, clock, overshoot)
        self.windows: dict[str, float] = {}

    def until(self, group: str) -> float:
        return self.windows.get(group, -inf)

    def shut(self, groups: Collection[str]) -> None:
        for group in groups:
            self.windows.pop(group, None)

    def clear(self) -> None:
        self.windows.clear()

    def inspect(self) -> tuple[frozenset[str], int | None]:
        passing = frozenset(group for group in self.windows if self.passes(group))
        return passing, 0 if passing else None


class Relative(SimulatedGuard):
    """Computes the time that is left when it is asked to arm, and makes the call a moment later."""

    open_is_relative = False
    refresh_is_relative = False
    late_refresh_adds = False

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self._timers: dict[int, tuple[float, float]] = {}

    async def start(self, slot: int, seconds: float) -> None:
        self._timers[slot] = self._process.clock(), seconds

    async def arm(self, slot: int, groups: Collection[str]) -> None:
        at, seconds = self._timers[slot]
        left = at + seconds - self._process.clock()
        await self._process.loop.perform("arm", "", lambda: self._open_windows(groups, at + seconds, left))

    def _open_windows(self, groups: Collection[str], ends_at: float, left: float) -> None:
        kernel, host, error = self._kernel, self._process.host, None
        assert isinstance(kernel, Windows)
        now = self._process.cluster.world.now
        for group in groups:
            refresh = group in kernel.windows
            if refresh and not kernel.passes(group) and not self.late_refresh_adds:
                error = "ENOENT"
                continue
            relative = self.refresh_is_relative if refresh else self.open_is_relative
            until = now + kernel.lasts(left) if relative else host.clock.true(ends_at)
            if left > 0 and until > now:
                kernel.windows[group] = until
        self._process.promised(lambda invariants: invariants.armed(host, groups))
        if error is not None:
            raise ProviderError(error)


class RelativeOpen(Relative):
    open_is_relative = True


class RelativeRefresh(Relative):
    refresh_is_relative = True


class PlainAdd(Relative):
    refresh_is_relative = late_refresh_adds = True
