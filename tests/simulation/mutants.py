"""The rules, removed one at a time. The names are those of the protocol's table; a search that misses one is no search."""

# ruff: noqa: ARG002  (a rule that is removed does not look at what it is asked about)
from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from controller.election import Rules
from controller.events import Arm, Armed, StartTimer, TimerStarted
from controller.lease import Ownership, Record, Session, SessionId, Timing, Version, longest_renew_deadline
from tests.simulation.kernel import Kernel
from tests.simulation.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from tests.simulation.host import Host
    from tests.simulation.world import Clock, World


@dataclass(frozen=True, slots=True)
class Mutant:
    """One rule removed: from the core, from the executor, from the kernel, or from the configuration."""

    name: str
    rule: str
    happens: str
    rules: type[Rules] = Rules
    process: type[Process] = Process
    kernel: type[Kernel] = Kernel
    stretch: float = 1.0  # the longest safe renew_deadline, times this

    def stretched(self, timing: Timing) -> Timing:
        """The timing that this mutant lets pass."""
        if self.stretch == 1.0:
            return timing
        longest = longest_renew_deadline(timing.lease_duration, timing.drift, timing.overshoot)
        return replace(timing, renew_deadline=longest * self.stretch)


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


class NoWatchMissingGroup(Rules):
    def missing_group_watched(self, since: float, now: float, lease_duration: float) -> bool:
        return True


class ReleaseFirst(Rules):
    def may_release(self, shut: bool) -> bool:
        return True


class GivenRead(Rules):
    def must_rewrite(self) -> bool:
        return False


class ReadRace(Rules):
    def answer_counts(self, sent_at: float, completed_at: float) -> bool:
        return True


class ReadStampReply(Rules):
    def confirmed_at(self, sent_at: float, replied_at: float) -> float:
        return replied_at


class NoGroupRead(Rules):
    def still_ours(self, record: Ownership | None, me: SessionId) -> bool:
        return record is None or super().still_ours(record, me)


class NoTombstone(Rules):
    def needs_tombstone(self) -> bool:
        return False


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
    def went_back(self, old: Record | None, new: Record | None) -> bool:
        return False


class NeverSitsOut(Rules):
    def sits_out(self, until: float, now: float) -> bool:
        return False


# --- the kernel and the executor ---------------------------------------------------------------------------------


class Forever(Kernel):
    """Nothing ends by itself."""

    def lasts(self, seconds: float) -> float:
        return inf


class Windows(Kernel):
    """The guard without slots: each group has one timer, which is given what is left of the grant."""

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


class Relative(Process):
    """Computes what is left when the reply is there, and makes the call a moment later."""

    open_is_relative = False
    refresh_is_relative = False
    late_refresh_adds = False

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._timers: dict[int, tuple[float, float]] = {}

    def _start_timer(self, action: StartTimer, at: float) -> None:
        self._timers[action.slot] = at, action.seconds
        self._said(TimerStarted(action.slot, at))

    def _arm(self, action: Arm) -> None:
        at, seconds = self._timers[action.slot]
        left = at + seconds - self.clock.at(self.cluster.world.now)
        self.step(self.cluster.weather.loop(), "call", "", self._call, action, at + seconds, left)

    def _call(self, action: Arm, ends_at: float, left: float) -> None:
        kernel, now = self.host.kernel, self.cluster.world.now
        assert isinstance(kernel, Windows)
        error = None
        for group in action.groups:
            refresh = group in kernel.windows
            if refresh and not kernel.passes(group) and not self.late_refresh_adds:
                error = "ENOENT"
                continue
            relative = self.refresh_is_relative if refresh else self.open_is_relative
            until = now + kernel.lasts(left) if relative else self.clock.true(ends_at)
            if left > 0 and until > now:
                kernel.windows[group] = until
        self.cluster.invariants.armed(self.host, action.groups)
        self._said(Armed(action.slot, action.groups, error))


class RelativeOpen(Relative):
    open_is_relative = True


class RelativeRefresh(Relative):
    refresh_is_relative = True


class PlainAdd(Relative):
    refresh_is_relative = late_refresh_adds = True


NONE = Mutant("none", "every rule holds", "nothing")

_LIST = (
    Mutant(
        "guard_outlives_watch",
        "lease_duration >= (renew_deadline / (1 - rho) + overshoot) * (1 + rho)",
        "B watches A for the lease, fences it, takes and opens; A's guard has something left",
        stretch=1.25,
    ),
    Mutant(
        "stampReply",
        "a renewal counts from before it was sent",
        "A's renewal lands, its reply is slow; B watches A out, meanwhile A counts from the reply",
        rules=StampReply,
    ),
    Mutant(
        "grpStamp",
        "only the session makes time",
        "A's session is at its end; A reads the group and opens on that; B fences A and takes",
        rules=GroupStamp,
    ),
    Mutant(
        "noFence",
        "fence before take",
        "A's late renewal lands, A reopens; B swaps the group, which A's renewal did not touch",
        rules=NoFence,
    ),
    Mutant(
        "blindFence",
        "fence by compare-and-swap",
        "B's fence overwrites A's late renewal; A's new grant stands",
        rules=BlindFence,
    ),
    Mutant("noWatchFence", "watch for lease_duration", "B fences a session it has just seen", rules=NoWatchFence),
    Mutant("noKernel", "the kernel ends it", "A is frozen and fenced; B opens; A's guard never ends", kernel=Forever),
    Mutant(
        "relTimeout_open",
        "absolute deadline when opening",
        "A computes what is left, freezes, B takes over, A makes the call",
        process=RelativeOpen,
        kernel=Windows,
    ),
    Mutant(
        "relTimeout_refresh",
        "absolute deadline when refreshing",
        "A computes what is left, freezes, and prolongs the guard by as much",
        process=RelativeRefresh,
        kernel=Windows,
    ),
    Mutant(
        "plainAdd",
        "a refresh that comes too late fails",
        "A computes what is left, freezes, B takes over, A's call opens again what had ended",
        process=PlainAdd,
        kernel=Windows,
    ),
    Mutant("releaseFirst", "shut before release", "the release lands, B takes it, A is still open", rules=ReleaseFirst),
    Mutant(
        "givenRead",
        "a late release is overwritten before opening",
        "A's release times out, A reads that it owns the group, opens; the release lands",
        rules=GivenRead,
    ),
    Mutant(
        "readRace",
        "one operation at a time",
        "A's slow read from before its release arrives after it: the group seems its own",
        rules=ReadRace,
    ),
    Mutant(
        "readStampReply",
        "a group read counts from when it was sent",
        "A's answer from before the deletion arrives a lease later",
        rules=ReadStampReply,
    ),
    Mutant(
        "del_noGrpRead",
        "a group is confirmed by reading it",
        "the group record is deleted; A renews its session for ever; B creates the group",
        rules=NoGroupRead,
    ),
    Mutant(
        "del_noWatchSession",
        "a missing session is watched as long",
        "A's session record is deleted; B takes at once",
        rules=NoWatchMissingSession,
    ),
    Mutant(
        "del_noWatchGroup",
        "a missing group is watched as long",
        "A's group record is deleted; B creates it at once",
        rules=NoWatchMissingGroup,
    ),
    Mutant(
        "del_noTomb_dup",
        "a missing session is created as fenced",
        "A's session is deleted, B takes; a duplicate create of A's session lands; A goes on",
        rules=NoTombstone,
    ),
    Mutant(
        "del_recreate",
        "a session id is never created twice",
        "A is fenced, B serves; the fenced record is deleted; A creates itself again and serves on",
        rules=Recreate,
    ),
    Mutant(
        "olderIsOurs",
        "a live record older than we know is not ours",
        "A is fenced, B serves; the fenced record is deleted; a duplicate create of A's session lands; A goes on",
        rules=OlderIsOurs,
    ),
    Mutant(
        "noInitUnbind",
        "a life that does not adopt unbinds first",
        "A restarts afresh and fences its old session, B takes; the old guard is open",
        rules=NoInitUnbind,
    ),
    Mutant(
        "adoptOpen",
        "adopted with a shut guard: rewrite first",
        "A shuts, sends its release, is killed, adopts, reads that it owns the group, opens; the release lands",
        rules=AdoptOpen,
    ),
    Mutant(
        "del_epochMem",
        "a new record's epoch is above all that may have been",
        "the group is deleted; B, just started, begins at 1",
        rules=ForgetEpoch,
    ),
    Mutant(
        "rest_instant",
        "a node that sees the store go back drops its grants",
        "A released, B serves; a backup from before is restored: A reads that it owns the group",
        rules=RestoreInstant,
    ),
    Mutant(
        "own_release_won_back",
        "the releaser sits out the next race",
        "A hands over, and takes the free group itself before B looks",
        rules=NeverSitsOut,
    ),
)

MUTANTS: Mapping[str, Mutant] = {mutant.name: mutant for mutant in _LIST}
