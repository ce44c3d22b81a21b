"""What exclusion rests on, in one place: each method is one rule, with what happens without it. Pure.

The simulator removes them one at a time, by overriding the one method, and must find the harm.
"""

from __future__ import annotations

from controller.core.records import Ownership, Record, Session, SessionId
from controller.stores.base import Version


class Rules:
    """What exclusion rests on, one method per rule. Steps: the length of the shortest trace to harm without it."""

    def grant_ends(self, renewed_at: float, confirmed_at: float, renew_deadline: float) -> float:
        """Only the session makes time, and the group must have been seen as ours since, too.

        Without the first (14 steps): a session at its end, the group read, served on that; fenced meanwhile.
        Without the second (15): the group's record is deleted, the session renewed for ever; another creates it.
        """
        return renew_deadline + min(renewed_at, confirmed_at)

    def renewed_at(self, started_at: float, replied_at: float) -> float:  # noqa: ARG002
        """Time counts from before the request left (18): a slow reply proves nothing about now."""
        return started_at

    def confirmed_at(self, sent_at: float, replied_at: float) -> float:  # noqa: ARG002
        """A listing proves what was so after it was sent (17), not when it arrived."""
        return sent_at

    def answer_counts(self, sent_at: float, completed_at: float) -> bool:
        """An answer to a request sent before our last write of the key ended is dropped (15)."""
        return sent_at >= completed_at

    def watched(self, since: float, now: float, lease_duration: float) -> bool:
        """A session is fenced only after it stayed the same for the whole lease (10)."""
        return now - since >= lease_duration

    def missing_watched(self, since: float, now: float, lease_duration: float) -> bool:
        """A session's record that is gone is watched as long (10): its owner may still serve on its last renewal."""
        return now - since >= lease_duration

    def new_group_watched(self, since: float, now: float, lease_duration: float) -> bool:
        """A group's record that is new is watched as long (9): the one before may have been deleted just now."""
        return now - since >= lease_duration

    def begins_unowned(self) -> bool:
        """It begins without an owner. Absence has no version, so a copy of this write may land after any deletion.

        Without: our creation was refused, but a copy of it lands when the record is deleted; we take it up at once.
        """
        return True

    def fence_version(self, watched: Version) -> Version:
        """A fence replaces just the version that was watched (17), or it overwrites a renewal."""
        return watched

    def needs_fence(self) -> bool:
        """An expired session that nobody has fenced gives no right (16): its late renewal may still land."""
        return True

    def needs_tombstone(self) -> bool:
        """A missing session is created as fenced first (17), or a duplicate of its creation revives it."""
        return True

    def session_over(self, record: Session | None, known_beat: int) -> bool:
        """Our session is over when it is missing, fenced (17), or older than we know it to be (18)."""
        return record is None or record.fenced or record.beat < known_beat

    def still_ours(self, record: Ownership | None, me: SessionId) -> bool:
        """Only a record that names us keeps us (15)."""
        return record is not None and record.session == me

    def reading_is_enough(self, adoptable: bool) -> bool:
        """A shut guard is opened only after the group was written anew, epoch + 1 (17); "ours" read is not enough.

        Without: our release timed out, a read says "ours", we open, and the release lands.
        """
        return adoptable

    def handing_is_enough(self, handed: bool) -> bool:
        """But what came to name us before this life's eyes needs no rewriting: no write of ours can rest on it."""
        return handed

    def there_at(self, there_at: float, arrived_at: float) -> float:  # noqa: ARG002
        """What a hint tells was so at some moment after its predecessor was seen, not when it came.

        Without: handed to us, deleted by hand, created by another a lease later; then the hint arrives.
        """
        return there_at

    def grows(self, seen: int, epoch: int) -> bool:
        """What is handed to us under an epoch below one that we saw is from another time: it is written anew."""
        return epoch >= seen

    def follows(self, seen: Version | None, after: str | None) -> bool:
        """A hint may be old: it tells of a handover only if that was written on just the version that is known.

        Without: handed to us, deleted by hand, created by another, which we see; then the hint arrives.
        """
        return seen == after

    def may_adopt(self, guard_was_open: bool) -> bool:
        """An open guard says that the earlier life gave nothing up; a shut one says nothing (15): rewrite first."""
        return guard_was_open

    def may_release(self, shut: bool) -> bool:
        """The release leaves after the kernel said that the guard is shut (10)."""
        return shut

    def clears_at_start(self) -> bool:
        """A life that does not adopt unbinds what it finds (12), before it fences the session it had."""
        return True

    def first_epoch(self, seen: int, unix_time: float) -> int:
        """A group created anew goes on above every epoch it may have had (7)."""
        return max(seen + 1, int(unix_time))

    def went_back(self, seen: int | None, new: Record | None) -> bool:
        """A record whose `seq` is below what was seen comes from a backup: nothing that we know is so (16).

        A group's record that is new gives nobody a right: it may have been begun by one who never saw the old one.
        """
        begun = isinstance(new, Ownership) and new.new
        return seen is not None and new is not None and new.seq < seen and not begun

    def remembers_gone(self) -> bool:
        """Also through a time in which the group's record was not there: a creation has no version to rest on.

        Without: the record is deleted under its owner, a copy of our old creation lands, and we take it for ours.
        """
        return True

    def sits_out(self, until: float, now: float) -> bool:
        """Who gave a group up stays out of the next race, or wins its own release back."""
        return now < until
