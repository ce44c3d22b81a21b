"""The rules that exclusion depends on, one method each. Pure.

Exclusion means that at most one node serves a group. Tests remove one rule at a time by overriding its method. The
simulator must then find a broken guarantee.
"""

from __future__ import annotations

from controller.core.records import Ownership, Record, Session, SessionId
from controller.stores.base import Version


class Rules:
    """The rules that exclusion depends on, one method each.

    A number in parentheses is the length, in steps, of the shortest trace that breaks exclusion without the rule.
    """

    def grant_ends(self, renewed_at: float, confirmed_at: float, renew_deadline: float) -> float:
        """A grant ends `renew_deadline` after the last renewal or the group's last confirmation, whichever is earlier.

        Without the renewal (14): our session is near its end. We read that the group is ours and continue to serve.
        Meanwhile, another node fences the session.
        Without the confirmation (15): the group's record is deleted. We continue to renew the session and to serve.
        Meanwhile, another node creates the record again.
        """
        return renew_deadline + min(renewed_at, confirmed_at)

    def renewed_at(self, started_at: float, replied_at: float) -> float:  # noqa: ARG002
        """A renewal counts from before it was sent (18): a slow reply proves nothing about the present."""
        return started_at

    def confirmed_at(self, sent_at: float, replied_at: float) -> float:  # noqa: ARG002
        """An answer counts from when its request was sent (17): it does not prove what holds when it arrives."""
        return sent_at

    def answer_counts(self, sent_at: float, completed_at: float) -> bool:
        """An answer about a key is dropped if its request was sent before our last write of the key ended (15)."""
        return sent_at >= completed_at

    def watched(self, since: float, now: float, lease_duration: float) -> bool:
        """A session is fenced only after it has stayed unchanged for a whole lease (10)."""
        return now - since >= lease_duration

    def missing_watched(self, since: float, now: float, lease_duration: float) -> bool:
        """A missing session is watched for a whole lease, too (10): its node might still serve on the last renewal."""
        return now - since >= lease_duration

    def new_group_watched(self, since: float, now: float, lease_duration: float) -> bool:
        """A new group record is watched for a whole lease, too (9): the one before might just have been deleted."""
        return now - since >= lease_duration

    def begins_unowned(self) -> bool:
        """A new group record names no owner, because a copy of the write that creates it can land after any deletion.

        An absent key has no version that would refuse the copy. Without this rule: our creation is refused, but a copy
        of it lands after the record is deleted, and we take the group up immediately.
        """
        return True

    def fence_version(self, watched: Version) -> Version:
        """A fence replaces exactly the version that was watched (17); otherwise it could overwrite a renewal."""
        return watched

    def needs_fence(self) -> bool:
        """An expired session must be fenced before its group is taken (16): a late renewal could still land."""
        return True

    def needs_tombstone(self) -> bool:
        """A missing session is first created as fenced (17); otherwise a duplicate of its creation could revive it."""
        return True

    def session_over(self, record: Session | None, known_beat: int) -> bool:
        """Our session is over when its record is missing, fenced (17), or carries a beat below the known one (18)."""
        return record is None or record.fenced or record.beat < known_beat

    def still_ours(self, record: Ownership | None, me: SessionId) -> bool:
        """We keep a group only while its record names our session (15)."""
        return record is not None and record.session == me

    def reading_is_enough(self, adoptable: bool) -> bool:
        """Reading that a group is ours does not open a shut guard: its record is first rewritten with epoch + 1 (17).

        Without this rule: our release times out, a read shows the group as ours, we open, and then the release lands.
        """
        return adoptable

    def handing_is_enough(self, handed: bool) -> bool:
        """A group needs no rewrite if this life saw its record change from another session, or from none, to ours.

        Every earlier write of ours expects a version that is gone, so none of them can replace the record.
        """
        return handed

    def there_at(self, there_at: float, arrived_at: float) -> float:  # noqa: ARG002
        """A handover in a hint counts from when the version that it replaced was last seen, not from its arrival.

        Without this rule: the group is handed to us, its record is deleted by hand, and another node creates it a lease
        later; then the hint arrives.
        """
        return there_at

    def grows(self, seen: int, epoch: int) -> bool:
        """A handover with an epoch below one that we have seen is out of date: we rewrite the group's record first."""
        return epoch >= seen

    def follows(self, seen: Version | None, after: str | None) -> bool:
        """A hint can be old: its handover counts only if it replaced exactly the version that we know.

        Without this rule: the group is handed to us, its record is deleted by hand, and another node creates it, which
        we see; then the hint arrives.
        """
        return seen == after

    def may_adopt(self, guard_was_open: bool) -> bool:
        """Only an open guard proves that the earlier life released nothing. If it is shut, we rewrite first (15)."""
        return guard_was_open

    def may_release(self, shut: bool) -> bool:
        """A release leaves only after the kernel has confirmed that the guard is shut (10)."""
        return shut

    def clears_at_start(self) -> bool:
        """A life that does not adopt unbinds what it finds before it fences the session of the earlier life (12)."""
        return True

    def first_epoch(self, seen: int, unix_time: float) -> int:
        """A recreated group starts above every epoch that it could have had before (7)."""
        return max(seen + 1, int(unix_time))

    def went_back(self, seen: int | None, new: Record | None) -> bool:
        """A record whose `seq` is below one that we have seen comes from a backup: what we know no longer holds (16).

        New group records are exempt. They give no node a right, and a node that never saw the old one can create them.
        """
        begun = isinstance(new, Ownership) and new.new
        return seen is not None and new is not None and new.seq < seen and not begun

    def remembers_gone(self) -> bool:
        """A group's last `seq` is remembered while its record is missing, because a creation expects no version.

        Without this rule: the record is deleted under its owner, a copy of our old creation lands, and we believe that
        the group is ours.
        """
        return True

    def needs_clear(self, uses: frozenset[str], clear: frozenset[str]) -> bool:
        """A group is taken only when all that it moves is clear (5).

        Without this rule: a group is renamed on A. A takes it under the new name, B under the old one.
        """
        return uses <= clear

    def look_counts(self, sent_at: float, said_at: float) -> bool:
        """Only a listing that was sent after our claim had landed shows that it is alone (13).

        Without this rule: both nodes look before either claim has landed.
        """
        return sent_at >= said_at

    def keeps_claim(self, in_use: frozenset[str], *, shut: bool) -> frozenset[str]:
        """A claim stays until the kernel has confirmed that the group is shut (15).

        Without this rule: a group is removed on A, and B takes its address in another group before A has shut it.
        """
        return frozenset() if shut else in_use

    def missing_blocks(self) -> bool:
        """A session whose record is missing or cannot be read still has its claims until it is fenced (16).

        Without this rule: A's session is deleted by hand, and B takes the address in another group at once.
        """
        return True

    def remembers_session(self) -> bool:
        """A session that we could not fence is there until a listing that counts for it shows otherwise (14).

        Without this rule: B is frozen, takes A for silent, and cannot fence it. It forgets A and takes an address that
        A has in another group: A's claim is in the listing that does not count, or A's session is deleted by hand.
        """
        return True

    def unknown_blocks(self) -> bool:
        """A session that does not list what a group of its own moves might move what we want."""
        return True

    def adopts_claim(self, same: bool) -> bool:
        """A daemon that adopts a session serves on only what that session held.

        Without this rule: A is killed, its file is edited, and the next life binds an address that B serves.
        """
        return same

    def record_counts(self, anew: bool) -> bool:
        """What our record says counts only at a version that we did not know (19).

        Without this rule: A's withdrawal of a claim is late, and the write after it is lost. A reads the record as it
        was, and takes an address. Then the withdrawal lands, and B takes the address, too.
        """
        return anew

    def clear_lasts(self, gap: float, renew_deadline: float) -> bool:
        """A claim that was found alone counts only while our record is renewed within `renew_deadline` (18).

        Without this rule: A is frozen, its session is deleted by hand, and B takes an address that A claims. A's record
        comes back, and A still takes its claim for one that was found alone.
        """
        return gap <= renew_deadline

    def adopts_until(self, found_at: float, renew_deadline: float) -> float:
        """A group that was found open is given up when no renewal has landed before its timer must have ended.

        Without this rule: A is killed, and its next life is cut off. A's session is deleted by hand, B takes an address
        of A's, and A's record comes back. A goes on with what it found open long ago.
        """
        return found_at + renew_deadline

    def sits_out(self, until: float, now: float) -> bool:
        """A node that gave a group up stays out of the next race; otherwise it could take back what it released."""
        return now < until
