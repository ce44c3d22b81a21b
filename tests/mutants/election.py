"""The rules of the election, removed one at a time. The names are those of the protocol's table.

Each must be caught by a story in ``tests/scripts``, which says `without NAME`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.daemon.executor import Executor
from controller.daemon.steps import GroupSteps
from tests.mutants import shell, weakened
from tests.simulation.mutant import Mutant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.mutants.planting import Plant


def _planted(plant: Plant) -> Mutant:
    """A mutant of the daemon, for a simulated one."""
    module = plant.load()
    executor = getattr(module, "Executor", Executor)
    steps = module.GroupSteps if plant.module == GroupSteps.__module__ else GroupSteps
    return Mutant(plant.name, plant.rule, plant.happens, executor=executor, steps=steps)


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
        rules=weakened.StampReply,
    ),
    Mutant(
        "grpStamp",
        "only the session makes time",
        "A's session is at its end; A reads the group and opens on that; B fences A and takes",
        rules=weakened.GroupStamp,
    ),
    Mutant(
        "noFence",
        "fence before take",
        "A's late renewal lands, A reopens; B swaps the group, which A's renewal did not touch",
        rules=weakened.NoFence,
    ),
    Mutant(
        "blindFence",
        "fence by compare-and-swap",
        "B's fence overwrites A's late renewal; A's new grant stands",
        rules=weakened.BlindFence,
    ),
    Mutant(
        "noWatchFence", "watch for lease_duration", "B fences a session it has just seen", rules=weakened.NoWatchFence
    ),
    Mutant(
        "noKernel",
        "the kernel ends it",
        "A is frozen and fenced; B opens; A's guard never ends",
        kernel=weakened.Forever,
    ),
    Mutant(
        "relTimeout_open",
        "absolute deadline when opening",
        "A computes what is left, freezes, B takes over, A makes the call",
        guard=weakened.RelativeOpen,
        kernel=weakened.Windows,
    ),
    Mutant(
        "relTimeout_refresh",
        "absolute deadline when refreshing",
        "A computes what is left, freezes, and prolongs the guard by as much",
        guard=weakened.RelativeRefresh,
        kernel=weakened.Windows,
    ),
    Mutant(
        "plainAdd",
        "a refresh that comes too late fails",
        "A computes what is left, freezes, B takes over, A's call opens again what had ended",
        guard=weakened.PlainAdd,
        kernel=weakened.Windows,
    ),
    Mutant(
        "releaseFirst",
        "shut before release",
        "the release lands, B takes it, A is still open",
        rules=weakened.ReleaseFirst,
    ),
    Mutant(
        "givenRead",
        "a late release is overwritten before opening",
        "A's release times out, A reads that it owns the group, opens; the release lands",
        rules=weakened.GivenRead,
    ),
    Mutant(
        "handedRead",
        "what is ours by a reading alone was not handed to us",
        "A's release times out, A reads that it owns the group, takes it for handed to it, opens; the release lands",
        rules=weakened.ReadHanded,
    ),
    Mutant(
        "hintStampArrival",
        "a handover counts from when the record was last known to be there",
        "A hands to B, the record is deleted, C creates it a lease later; then B's watch tells it of the handover",
        rules=weakened.HintStampArrival,
    ),
    Mutant(
        "hintAlone",
        "a hint tells of a handover only if that follows on what is known",
        "the same, and B has seen C's record, whose seq is lower than the handover's",
        rules=weakened.HintAlone,
    ),
    Mutant(
        "readRace",
        "one operation at a time",
        "A's slow read from before its release arrives after it: the group seems its own",
        rules=weakened.ReadRace,
    ),
    Mutant(
        "readStampReply",
        "a group read counts from when it was sent",
        "A's answer from before the deletion arrives a lease later",
        rules=weakened.ReadStampReply,
    ),
    Mutant(
        "del_noGrpRead",
        "only a record that names us keeps us",
        "the group's record is deleted; A goes on; B begins it anew, watches it, and takes it",
        rules=weakened.NoGroupRead,
    ),
    Mutant(
        "del_noWatchSession",
        "a missing session is watched as long",
        "A's session record is deleted; B takes at once",
        rules=weakened.NoWatchMissingSession,
    ),
    Mutant(
        "del_noWatchGroup",
        "a group that is begun anew is watched as long",
        "A's group record is deleted; B begins it anew and takes it at once",
        rules=weakened.NoWatchNewGroup,
    ),
    Mutant(
        "del_noTomb_dup",
        "a missing session is created as fenced",
        "A's session is deleted, B takes; a duplicate create of A's session lands; A goes on",
        rules=weakened.NoTombstone,
    ),
    Mutant(
        "del_recreate",
        "a session id is never created twice",
        "A is fenced, B serves; the fenced record is deleted; A creates itself again and serves on",
        rules=weakened.Recreate,
    ),
    Mutant(
        "olderIsOurs",
        "a live record older than we know is not ours",
        "A is fenced, B serves; the fenced record is deleted; a duplicate create of A's session lands; A goes on",
        rules=weakened.OlderIsOurs,
    ),
    Mutant(
        "noInitUnbind",
        "a life that does not adopt unbinds first",
        "A restarts afresh and fences its old session, B takes; the old guard is open",
        rules=weakened.NoInitUnbind,
    ),
    Mutant(
        "adoptOpen",
        "adopted with a shut guard: rewrite first",
        "A shuts, sends its release, is killed, adopts, reads that it owns the group, opens; the release lands",
        rules=weakened.AdoptOpen,
    ),
    Mutant(
        "del_epochMem",
        "a new record's epoch is above all that may have been",
        "the group is deleted; B, just started, begins at 1",
        rules=weakened.ForgetEpoch,
    ),
    Mutant(
        "rest_instant",
        "a node that sees the store go back drops its grants",
        "A released, B serves; a backup from before is restored: A reads that it owns the group",
        rules=weakened.RestoreInstant,
    ),
    Mutant(
        "del_restored",
        "that a record went back is seen through a time in which it was not there, too",
        "A had the group, B has it now; the record is deleted, and a backup restored: A reads that it owns the group",
        rules=weakened.ForgetGone,
    ),
    Mutant(
        "del_refusedCreate",
        "a group's record begins without an owner",
        "A's creation is refused, B was faster; the record is deleted, and a copy of the creation lands: A reads that it is its own",
        rules=weakened.BeginsOwned,
    ),
    Mutant(
        "own_release_won_back",
        "the releaser sits out the next race",
        "A hands over, and takes the free group itself before B looks",
        rules=weakened.NeverSitsOut,
    ),
    _planted(shell.LATE_WRITE),
    _planted(shell.UNBIND_FIRST),
)

MUTANTS: Mapping[str, Mutant] = {mutant.name: mutant for mutant in _LIST}
