"""Removes the rules of the election, one at a time. The names are those of the protocol's table.

A story in ``tests/scripts`` that contains `without NAME` must catch each mutant.
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
    """Returns a mutant of the daemon's source as one that the simulator can run."""
    module = plant.load()
    executor = getattr(module, "Executor", Executor)
    steps = module.GroupSteps if plant.module == GroupSteps.__module__ else GroupSteps
    return Mutant(plant.name, plant.rule, plant.happens, executor=executor, steps=steps)


_LIST = (
    Mutant(
        "guard_outlives_watch",
        "lease_duration >= (renew_deadline / (1 - rho) + overshoot) * (1 + rho)",
        "B watches A for a lease, fences it, takes the group and opens; A's guard is still open",
        stretch=1.25,
    ),
    Mutant(
        "stampReply",
        "a renewal counts from before it was sent",
        "A's renewal lands, but its reply is slow; B watches A for a lease, while A counts from the reply",
        rules=weakened.StampReply,
    ),
    Mutant(
        "grpStamp",
        "only a renewal of the session extends the grant",
        "A's session is near its end; A reads the group and opens on that; B fences A and takes the group",
        rules=weakened.GroupStamp,
    ),
    Mutant(
        "noFence",
        "an expired session is fenced before its group is taken",
        "A's late renewal lands, and A opens again; B swaps the group's record, which A's renewal did not touch",
        rules=weakened.NoFence,
    ),
    Mutant(
        "blindFence",
        "a fence is a compare-and-swap of the watched version",
        "B's fence overwrites A's late renewal, on which A still serves",
        rules=weakened.BlindFence,
    ),
    Mutant(
        "noWatchFence",
        "a session is watched for a lease before it is fenced",
        "B fences a session that it has just seen",
        rules=weakened.NoWatchFence,
    ),
    Mutant(
        "noKernel",
        "the guard's timer ends in the kernel",
        "A is frozen and fenced; B opens; A's guard stays open forever",
        kernel=weakened.Forever,
    ),
    Mutant(
        "relTimeout_open",
        "opening the guard uses an absolute deadline",
        "A computes the time that is left and freezes; B takes over; A makes the call",
        guard=weakened.RelativeOpen,
        kernel=weakened.Windows,
    ),
    Mutant(
        "relTimeout_refresh",
        "refreshing the guard uses an absolute deadline",
        "A computes the time that is left, freezes, and then extends the guard by that time",
        guard=weakened.RelativeRefresh,
        kernel=weakened.Windows,
    ),
    Mutant(
        "plainAdd",
        "a refresh that comes too late fails",
        "A computes the time that is left and freezes; B takes over; A's call opens the ended guard again",
        guard=weakened.PlainAdd,
        kernel=weakened.Windows,
    ),
    Mutant(
        "releaseFirst",
        "the guard is shut before the release leaves",
        "A's release lands and B takes the group, while A is still open",
        rules=weakened.ReleaseFirst,
    ),
    Mutant(
        "givenRead",
        "a late release is overwritten before the guard opens",
        "A's release times out, A reads that it owns the group, and opens; then the release lands",
        rules=weakened.GivenRead,
    ),
    Mutant(
        "handedRead",
        "a group that a read shows as ours has not been handed to us",
        "A's release times out, A reads that it owns the group, takes that for a handover, opens; the release lands",
        rules=weakened.ReadHanded,
    ),
    Mutant(
        "hintStampArrival",
        "a handover in a hint counts from when the record was last known to exist",
        "A hands the group to B, its record is deleted, C creates it a lease later; then B's watch shows the handover",
        rules=weakened.HintStampArrival,
    ),
    Mutant(
        "hintAlone",
        "a handover in a hint counts only if it replaced the known version",
        "the same, but B has seen C's record, whose seq is lower than that of the handover",
        rules=weakened.HintAlone,
    ),
    Mutant(
        "readRace",
        "an answer from before our own write does not count",
        "A's slow read from before its release arrives after it and shows the group as A's own",
        rules=weakened.ReadRace,
    ),
    Mutant(
        "readStampReply",
        "a read of a group counts from when it was sent",
        "A's answer from before the record's deletion arrives a lease later",
        rules=weakened.ReadStampReply,
    ),
    Mutant(
        "del_noGrpRead",
        "a node keeps a group only while the record names its session",
        "the group's record is deleted, and A serves on; B creates it, watches it for a lease, and takes it",
        rules=weakened.NoGroupRead,
    ),
    Mutant(
        "del_noWatchSession",
        "a missing session is watched for a lease",
        "A's session record is deleted; B takes the group immediately",
        rules=weakened.NoWatchMissingSession,
    ),
    Mutant(
        "del_noWatchGroup",
        "a new group record is watched for a lease",
        "A's group record is deleted; B creates it and takes it immediately",
        rules=weakened.NoWatchNewGroup,
    ),
    Mutant(
        "del_noTomb_dup",
        "a missing session is created as fenced before its group is taken",
        "A's session is deleted, and B takes the group; a duplicate of A's creation lands; A serves on",
        rules=weakened.NoTombstone,
    ),
    Mutant(
        "del_recreate",
        "a session id is never created twice",
        "A is fenced, and B serves; the fenced record is deleted; A creates its session again and serves on",
        rules=weakened.Recreate,
    ),
    Mutant(
        "olderIsOurs",
        "our session is over if its record is older than the one we know",
        "A is fenced, and B serves; the fenced record is deleted; a duplicate of A's creation lands; A serves on",
        rules=weakened.OlderIsOurs,
    ),
    Mutant(
        "noInitUnbind",
        "a life that does not adopt unbinds before it fences its old session",
        "A restarts without its state and fences its old session; B takes the group; A's old guard is still open",
        rules=weakened.NoInitUnbind,
    ),
    Mutant(
        "adoptOpen",
        "a group that is adopted with a shut guard is rewritten first",
        "A shuts, sends its release, is killed, adopts, reads that it owns the group, and opens; the release lands",
        rules=weakened.AdoptOpen,
    ),
    Mutant(
        "del_epochMem",
        "a new record's epoch is above all that the group could have had",
        "the group's record is deleted; B, which has just started, begins at epoch 1",
        rules=weakened.ForgetEpoch,
    ),
    Mutant(
        "rest_instant",
        "a node that sees the store go back drops its grants",
        "A has released the group, and B serves; an older backup is restored; A reads that it owns the group",
        rules=weakened.RestoreInstant,
    ),
    Mutant(
        "del_restored",
        "a record that goes back is noticed even if it was missing in between",
        "A had the group, and B has it; its record is deleted, then a backup restored; A reads that it owns the group",
        rules=weakened.ForgetGone,
    ),
    Mutant(
        "del_refusedCreate",
        "a new group record names no owner",
        "B creates the record before A; it is deleted, and a copy of A's creation lands; A reads that the group is its",
        rules=weakened.BeginsOwned,
    ),
    Mutant(
        "own_release_won_back",
        "a node that released a group sits out the next race",
        "A releases the group, and takes it again before B has read the record",
        rules=weakened.NeverSitsOut,
    ),
    Mutant(
        "claim_none",
        "a group is taken only when all that it moves is clear",
        "web is renamed to www on B; A serves web, and B takes www with the same address",
        rules=weakened.NoClear,
    ),
    Mutant(
        "claim_early_look",
        "only a listing that was sent after the claim had landed shows that it is alone",
        "both nodes look, then both claims land",
        rules=weakened.EarlyLook,
    ),
    Mutant(
        "claim_dropped",
        "a claim stays until the group is shut",
        "web is removed on A; its claim goes before A has shut it, and B takes www",
        rules=weakened.DropsClaim,
    ),
    Mutant(
        "claim_missing",
        "a session whose record is missing keeps its claims until it is fenced",
        "A serves web; its session is deleted by hand, and B takes www at once",
        rules=weakened.MissingIgnored,
    ),
    Mutant(
        "adopted_for_ever",
        "a group that was found open is given up when its timer must have ended",
        "A is killed, its next life is cut off; A's session is deleted, B takes an address, and A's record comes back",
        rules=weakened.AdoptsForEver,
    ),
    Mutant(
        "record_trusted",
        "what our record says counts only at a version that we did not know",
        "A's withdrawal of a claim is late, the next write is lost; A reads the old record and takes the address",
        rules=weakened.TrustsOld,
    ),
    Mutant(
        "session_came_back",
        "a claim that was found alone counts only while the record is renewed within a lease",
        "A is frozen, its session is deleted by hand, and B takes an address of A's; A's record comes back, and A thaws",
        rules=weakened.GoesOn,
    ),
    Mutant(
        "session_forgotten",
        "a session that could not be fenced is there until a listing shows otherwise",
        "B is frozen while A claims an address; B tries to fence A, and then knows nothing of A and its claim",
        rules=weakened.ForgetsSession,
    ),
    Mutant(
        "claim_unknown",
        "a session that does not list what a group moves might move what we want",
        "A serves web, which B does not have, and has not listed what it moves; B takes www",
        rules=weakened.UnknownIgnored,
    ),
    Mutant(
        "claim_adopted",
        "a daemon that adopts a session serves on only what that session held",
        "A serves web and is killed; an address that B serves is added; A adopts, and binds it",
        rules=weakened.AdoptsAnything,
    ),
    Mutant(
        "claim_reloaded",
        "what a served group is to move is put in place only when it is clear",
        "A serves web; an address that B serves in db is added to web on A",
        may_use=weakened.use_at_once,
    ),
    _planted(shell.LATE_WRITE),
    _planted(shell.UNBIND_FIRST),
)

MUTANTS: Mapping[str, Mutant] = {mutant.name: mutant for mutant in _LIST}
