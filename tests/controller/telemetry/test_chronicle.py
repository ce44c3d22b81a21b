"""What a node keeps of what it sees of the whole cluster, and what it tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from controller.cli.narrative import chronicle_text, tell
from controller.core.election import Sighting
from controller.core.group import Reason
from controller.core.records import Change, Ending, Membership, Ownership, Record, Session, SessionId
from controller.telemetry.chronicle import Chronicle, ChronicleEntry
from controller.telemetry.logs import utc

NOON = 1_800_000_000.0
N1, N2 = SessionId("n1-a"), SessionId("n2-a")
FIRST = Ownership(N1, "n1", 7)
FENCED = Change(
    "n1", "owner-fenced", "silent", since=NOON - 3, told_by="n2", taken_as="owner-fenced", taken=NOON + 0.01
)


def seen(**records: Record) -> Mapping[str, Sighting]:
    """Sightings of groups and sessions: `n1` is a session, any other name a group."""
    keys = {
        name: f"{'sessions' if isinstance(record, Session) else 'groups'}/{name}" for name, record in records.items()
    }
    return {keys[name]: Sighting(0.0, 0.0, record=record) for name, record in records.items()}


def chronicle(path: Path | None = None) -> Chronicle:
    made = Chronicle("n3", path, wall=lambda: NOON + 1)
    made.load()
    return made


def known(book: Chronicle) -> ChronicleEntry:
    return book.entries()[-1]


def test_a_change_of_owner_is_kept_with_its_story_and_better_known_later() -> None:
    book = chronicle()
    book.notice(seen(web=FIRST))
    (entry,) = book.notice(seen(web=Ownership(N2, "n2", 8, change=FENCED)))
    assert (entry["group"], entry["epoch"], entry["owner"], entry["was"]) == ("web", 8, "n2", "n1")
    assert (entry["since"], entry["told_by"], entry["served"]) == (utc(NOON - 3), "n2", "")
    told = replace(FENCED, served=NOON + 0.03, gap=3.03, stages={"bind": 0.004})
    (entry,) = book.notice(seen(web=Ownership(N2, "n2", 8, seq=2, change=told)))
    assert (entry["served"], entry["served_by"], entry["gap_seconds"]) == (utc(NOON + 0.03), "n2", 3.03)
    assert book.notice(seen(web=Ownership(N2, "n2", 8, seq=3))) == [], "the record forgets, the chronicle does not"
    assert [one["epoch"] for one in book.entries("web")] == [7, 8]
    assert known(book) == entry
    assert book.entries("db") == []


def test_what_the_record_does_not_tell_is_seen() -> None:
    """An older version tells nothing, and a new group has nothing to tell."""
    book = chronicle()
    book.notice(seen(web=Ownership(epoch=6, new=True)))
    assert book.entries() == []
    book.notice(seen(web=FIRST))
    assert (known(book)["was"], known(book)["why"]) == ("", "group-was-free")
    serving = Session("n1", groups={"web": Membership(healthy=True, serving=7)})
    book.notice(seen(web=FIRST, n1=serving))
    assert (known(book)["served"], known(book)["served_by"]) == (utc(NOON + 1), "n3")
    book.notice(seen(web=Ownership(N2, "n2", 8)))
    assert (known(book)["was"], known(book)["why"]) == ("n1", "")


def test_what_was_known_before_a_restart_is_known_after_it(tmp_path: Path) -> None:
    file = tmp_path / "lib" / "chronicle.jsonl"
    book = chronicle(file)
    book.notice(seen(web=Ownership(N2, "n2", 8, change=FENCED)))
    book.notice(seen(n1=Session("n1", fenced=True, ended=Ending("n2", "silent", NOON, NOON - 3))))
    book.cut_off(NOON - 1)
    book.flush()
    again = chronicle(file)
    assert again.entries() == book.entries()
    assert again.notice(seen(web=Ownership(N2, "n2", 8, change=FENCED))) == []
    assert again.notice(seen(n1=Session("n1", fenced=True, ended=Ending("n2", "silent", NOON, NOON - 3)))) == []
    again.cut_off(NOON - 1, NOON + 5)
    assert len(again.entries()) == 3, "the same time without the store"
    assert known(again)["served"] == utc(NOON + 5)


def test_lines_that_are_no_events_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "chronicle.jsonl"
    file.write_text('{"kind": "owner"}\n[1]\nrubbish\n' + "[" * 100_000 + "\n")
    assert chronicle(file).entries() == []


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "passwd"
    target.touch()
    (tmp_path / "chronicle.jsonl").symlink_to(target)
    book = chronicle(tmp_path / "chronicle.jsonl")
    book.cut_off(NOON)
    book.flush()
    assert target.read_bytes() == b""


def test_a_session_that_an_older_version_fenced_is_no_event() -> None:
    book = chronicle()
    assert book.notice(seen(n1=Session("n1", fenced=True))) == []


def test_a_moment_of_no_century_is_not_shown() -> None:
    book = chronicle()
    book.notice(seen(web=Ownership(N2, "n2", 8, change=replace(FENCED, since=1e300, shut=-5.0))))
    assert (known(book)["since"], known(book)["shut"]) == ("", "")


# --- in words ----------------------------------------------------------------------------------------------------


def told(owner: Ownership, before: Ownership | None = FIRST) -> str:
    book = chronicle()
    if before is not None:
        book.notice(seen(web=before))
    book.notice(seen(web=owner))
    return tell(known(book))


def test_a_takeover_in_words() -> None:
    change = replace(FENCED, served=NOON + 0.03, gap=3.03, stages={"promote": 1.5, "bind": 0.004})
    assert told(Ownership(N2, "n2", 8, change=change)) == (
        "2027-01-15T08:00:00.010Z  web, epoch 8: n2 took it from n1. Why: n2 had heard nothing from it since "
        "2027-01-15T07:59:57.000Z, and fenced it.\n"
        "    n2 serves since 2027-01-15T08:00:00.030Z (clock of n2). Nobody served for 3.0 s at most (measured by n2).\n"
        "    Steps: bind 4 ms, promote 1.5 s."
    )


HANDED = Change(
    "n1", "switchover", asked_by="root on n3", since=NOON, told_by="n1", shut=NOON + 0.005, served=NOON + 0.015, gap=0.5
)


def test_a_switchover_in_words() -> None:
    assert told(Ownership(N2, "n2", 8, change=HANDED)).splitlines() == [
        "2027-01-15T08:00:00.005Z  web, epoch 8: n1 handed it to n2. Why: root on n3 asked for it.",
        "    n1 served until 2027-01-15T08:00:00.000Z (clock of n1). Its guard was shut at 2027-01-15T08:00:00.005Z.",
        "    n2 serves since 2027-01-15T08:00:00.015Z (clock of n2). Nobody served for about 15 ms, if both clocks agree.",
    ]


@pytest.mark.parametrize("served", [NOON - 60, NOON + 60])
def test_clocks_that_do_not_agree_are_not_compared(served: float) -> None:
    text = told(Ownership(N2, "n2", 8, change=replace(HANDED, served=served)))
    assert text.endswith("Nobody served for 500 ms at most (measured by n2).")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (replace(HANDED, asked_by=""), "an operator asked for it"),
        (Change("n1", "unhealthy", "app: refused"), "n1 was not fit (app: refused)"),
        (Change("n1", "stopping"), "n1 was told to stop"),
        (Change("n1", "owner-fenced", "missing", since=NOON, told_by="n2"), "its session was missing from the store"),
        (Change("n1", "owner-fenced", "earlier-life", told_by="n1"), "its daemon was restarted"),
        (Change("n1", "owner-fenced"), "its session was fenced"),
        (Change("n1", "a reason of tomorrow"), "a reason of tomorrow"),
        (None, "not known to n3"),
    ],
)
def test_why_in_words(change: Change | None, says: str) -> None:
    assert says in told(Ownership(N2, "n2", 8, change=change))


def test_every_reason_for_which_an_owner_changes_has_its_words() -> None:
    for reason in Reason:
        text = told(Ownership(N2, "n2", 8, change=Change("n1", reason.value, told_by="n2")))
        bare = f"Why: {reason.value}." in text
        assert bare is (reason.value in {"started", "healthy", "duplicate-node-name", "paused", "resumed", "offered",
            "adopted", "promotion-done", "shut"}), text  # fmt: skip


def test_a_group_that_nobody_takes_is_told_and_not_twice() -> None:
    book = chronicle()
    given = Change("n1", "unhealthy", "app", since=NOON, told_by="n1", shut=NOON + 1)
    book.notice(seen(web=FIRST))
    book.notice(seen(web=Ownership(None, None, 7, seq=2, change=given)))
    text = chronicle_text(book.entries())
    assert "n1 gave it up, and nobody took it. Why: n1 was not fit (app)." in text
    assert text.endswith("Nobody serves it from then on.")
    book.notice(seen(web=Ownership(N2, "n2", 8, seq=3, change=replace(given, taken=NOON + 2))))
    text = chronicle_text(book.entries())
    assert "gave it up" not in text
    assert text.endswith("n2 has not said yet that it serves.")


def test_who_takes_its_own_group_again_in_words() -> None:
    change = Change("n1", "grant-expired", since=NOON, told_by="n1", taken_as="regained", taken=NOON + 6)
    text = told(Ownership(N1, "n1", 8, change=change))
    assert "n1 took it again. Why: n1 could not renew its right to serve in time." in text


def test_members_and_times_without_the_store_in_words() -> None:
    book = chronicle()
    book.notice(seen(n1=Session("n1", fenced=True, ended=Ending("n2", "silent", NOON, NOON - 3))))
    book.notice(seen(n4=Session("n4", fenced=True, ended=Ending("n4", "left", NOON + 1))))
    book.cut_off(NOON)
    ended, left, cut_off = chronicle_text(book.entries()).split("\n\n")
    assert ended.endswith("n2 had heard nothing from it since 2027-01-15T07:59:57.000Z, and fenced it.")
    assert left.endswith("member n4: it left in order.")
    assert cut_off.endswith("member n3: it has no answer from the store since 2027-01-15T08:00:00.000Z.")
    book.cut_off(NOON, NOON + 8)
    assert chronicle_text(book.entries()).endswith("to 2027-01-15T08:00:08.000Z (8.0 s).")


def test_an_event_of_a_later_version_is_named() -> None:
    book = chronicle()
    event = {**book.cut_off(NOON), "kind": "comet", "group": "web"}
    assert tell(event).endswith("comet web")  # type: ignore[arg-type]
