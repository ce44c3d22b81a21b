"""The encoding of records, and the durations that make a lease safe."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from controller.config.model import Lease
from controller.core.records import (
    BadRecord,
    Change,
    Cluster,
    Ending,
    Membership,
    Ownership,
    Session,
    SessionId,
    Stake,
    Wanted,
    decode,
    encode,
    next_record,
)
from controller.core.timing import LONGEST_LEASE, Timing, longest_renew_deadline
from controller.stores.base import Credential

TEXT = st.text(max_size=20)
COUNT = st.integers(min_value=0, max_value=2**63 - 1)
SESSION_ID = TEXT.map(SessionId)
MEMBERSHIPS = st.builds(
    Membership,
    priority=st.integers(0, 1000),
    healthy=st.booleans(),
    serving=COUNT,
    stake=st.sampled_from(Stake),
    digest=TEXT,
    claims=st.none() | st.lists(TEXT, max_size=2).map(tuple),
    why=TEXT,
)
TIMES = st.floats(allow_nan=False, allow_infinity=False)
CHANGES = st.builds(
    Change, was=TEXT, why=TEXT, since=TIMES, shut=TIMES, gap=TIMES, stages=st.dictionaries(TEXT, TIMES, max_size=3)
)
SESSIONS = st.builds(
    Session,
    node=TEXT,
    beat=COUNT,
    fenced=st.booleans(),
    campaigning=st.booleans(),
    groups=st.dictionaries(TEXT, MEMBERSHIPS, max_size=4),
    seq=COUNT,
    writer=TEXT,
    ended=st.none() | st.builds(Ending, by=TEXT, why=TEXT, at=TIMES, since=TIMES),
)
OWNERSHIPS = st.builds(
    Ownership,
    session=st.none() | SESSION_ID,
    node=st.none() | TEXT,
    epoch=COUNT,
    offered_to=st.none() | SESSION_ID,
    wanted=st.none() | st.builds(Wanted, to=st.none() | TEXT, epoch=COUNT),
    after=st.none() | TEXT,
    new=st.booleans(),
    seq=COUNT,
    writer=TEXT,
    change=st.none() | CHANGES,
)
CLUSTERS = st.builds(
    Cluster,
    paused=st.booleans(),
    id=TEXT,
    lasts=st.floats(0, 1e9),
    by=TEXT,
    node=TEXT,
    why=TEXT,
    at=COUNT,
    seq=COUNT,
    writer=TEXT,
)
RECORDS = SESSIONS | OWNERSHIPS | CLUSTERS
EXAMPLES = (
    Session(
        "n1",
        beat=3,
        facts={"": {"lease": "3 s"}, "web": {"vips": "10.77.0.100/24"}},
        groups={"web": Membership(healthy=True, serving=2, claims=("10.77.0.100",))},
        seq=4,
        writer="w",
    ),
    Ownership(SessionId("s1"), "n1", 7, SessionId("s2"), Wanted("n2", 7), "v8", False, 9, "w"),
    Cluster(paused=True, seq=1, writer="w"),
    Session("n1", seq=4, ended=Ending("n2", "silent", 1000.5, 997.25)),
    Ownership(change=Change("n1", "owner-fenced", since=997.25, told_by="n2", stages={"bind": 0.25})),
)
FOR_PEOPLE = {"change", "ended"}


# --- records -----------------------------------------------------------------------------------------------------


@given(RECORDS)
def test_what_is_encoded_is_decoded(record: Any) -> None:
    assert decode(encode(record), type(record)) == record


@given(SESSIONS)
def test_the_same_record_is_always_the_same_bytes(record: Session) -> None:
    backwards = replace(record, groups=dict(reversed(list(record.groups.items()))))
    assert encode(record) == encode(backwards)


@given(RECORDS, TEXT)
def test_the_next_record_never_has_the_bytes_of_this_one(record: Any, writer: str) -> None:
    following = next_record(record, writer)
    assert (following.seq, following.writer) == (record.seq + 1, writer)
    assert encode(following) != encode(record)


def test_the_next_record_carries_the_changes_and_keeps_the_rest() -> None:
    session, group, *_ = EXAMPLES
    assert next_record(session, "v", beat=4) == replace(session, beat=4, seq=5, writer="v")
    assert next_record(group, "v", session=None) == replace(group, session=None, seq=10, writer="v")


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: type(record).__name__)
def test_a_record_is_json_that_names_its_format_and_kind(record: Any) -> None:
    body = json.loads(encode(record))
    assert body["format"] == 1
    assert body["kind"] in {"session", "group", "cluster"}
    assert {"format", "kind"} <= set(body) <= {"format", "kind"} | {f.name for f in fields(record)}


def test_what_is_only_for_people_costs_nothing_while_there_is_nothing_to_tell() -> None:
    session, group, *_ = EXAMPLES
    assert not FOR_PEOPLE & {*json.loads(encode(session)), *json.loads(encode(group))}
    assert "why" not in json.loads(encode(session))["groups"]["web"]
    assert json.loads(encode(Ownership(change=Change("n1", "stopping"))))["change"] == {"was": "n1", "why": "stopping"}


@pytest.mark.parametrize("change", [5, {"was": 1}, {"stages": []}, {"stages": {"bind": "long"}}, {"since": 3}])
def test_a_story_that_cannot_be_read_does_not_spoil_the_record_that_it_is_in(change: Any) -> None:
    assert decode(valid("group", epoch=7, change=change), Ownership) == Ownership(node="n1", epoch=7)
    assert decode(valid("session", beat=7, ended=5), Session) == Session("n1", beat=7)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_a_bad_record(value: bytes) -> None:
    kinds: tuple[Any, ...] = (Session, Ownership, Cluster)
    for kind in kinds:
        with pytest.raises(BadRecord):
            decode(value, kind)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(EXAMPLES), st.data())
def test_whatever_a_field_holds_is_accepted_or_named(record: Any, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from([f.name for f in fields(record)]))
    body = json.loads(encode(record)) | {field: data.draw(JSON)}
    try:
        found = decode(json.dumps(body).encode(), type(record))
    except BadRecord as error:
        assert str(error).startswith(field)  # noqa: PT017  (both outcomes are right)
    else:
        assert decode(encode(found), type(record)) == found


def valid(kind: str, **changes: Any) -> bytes:
    return json.dumps({"format": 1, "kind": kind, "node": "n1"} | changes).encode()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"", "not JSON: b''"),
        (b"\xff\xfe", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}", "format None, this version reads format 1"),
        (valid("session", format=2), "format 2, this version reads format 1"),
        (valid("session", format="1"), "format '1'"),
        (valid("group"), "a 'group' record where a 'session' record belongs"),
        (valid("session", beat="3"), "beat: '3' is not of type int"),
        (valid("session", beat=True), "beat: True is not of type int"),
        (valid("session", beat=3.0), "beat: 3.0 is not of type int"),
        (valid("session", lease_duration=float("nan")), "lease_duration: nan is not a number"),
        (valid("session", fenced=1), "fenced: 1 is not of type bool"),
        (valid("session", node=None), "node: None is not of type str"),
        (valid("session", groups=[]), r"groups: \[\] is not an object"),
        (valid("session", groups={"web": 1}), "groups.web: 1 is not an object"),
        (valid("session", groups={"web": {"priority": "high"}}), "groups.web.priority: 'high' is not of type int"),
        (
            valid("session", groups={"web": {"stake": "some"}}),
            r"groups\.web\.stake: 'some' is none of holds, asks, waits",
        ),
        (valid("session", groups={"web": {"stake": []}}), r"groups\.web\.stake: \[\] is none of"),
        (valid("session", groups={"web": {"claims": "a"}}), r"groups\.web\.claims: 'a' is not a list of strings"),
        (valid("session", groups={"web": {"claims": [1]}}), r"groups\.web\.claims: \[1\] is not a list of strings"),
        (valid("session", facts={"web": {"vips": 1}}), r"facts\.web: .* is not a mapping of strings"),
        (valid("session", facts=["web"]), r"facts: \['web'\] is not an object"),
        (b'{"format": 1, "kind": "session"}', "record: .*'node'"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_not_a_session_says_what_it_is_instead(value: bytes, says: str) -> None:
    with pytest.raises(BadRecord, match=says) as error:
        decode(value, Session)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"wanted": "n2"}, "wanted: 'n2' is not an object"),
        ({"wanted": {"to": 1, "epoch": 2}}, r"wanted\.to: 1 is not of type str \| None"),
        ({"wanted": {"to": "n2"}}, "wanted: .*'epoch'"),
        ({"session": 5}, r"session: 5 is not of type SessionId \| None"),
    ],
)
def test_what_is_not_an_ownership_says_what_it_is_instead(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRecord, match=says):
        decode(valid("group", **changes), Ownership)


def test_fields_of_another_version_are_ignored_and_missing_ones_take_their_default() -> None:
    assert decode(valid("session", colour="blue"), Session) == Session("n1")
    assert decode(valid("group", wanted=None, session=None), Ownership) == Ownership(node="n1")
    assert decode(valid("group", from_session="s0", go="hash"), Ownership) == Ownership(node="n1")
    assert decode(b'{"format": 1, "kind": "cluster"}', Cluster) == Cluster()
    in_groups = {"web": {"healthy": True, "colour": "blue"}}
    assert decode(valid("session", groups=in_groups), Session).groups == {"web": Membership(healthy=True)}


# --- limits ------------------------------------------------------------------------------------------------------

LARGEST = 2**63 - 1


def body(kind: str, text: str) -> bytes:
    """Returns a record whose fields `text` gives as JSON, because some of it cannot be made with json.dumps."""
    return f'{{"format": 1, "kind": "{kind}", "node": "n1", {text}}}'.encode()


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        (
            Ownership,
            f'"seq": {"9" * 4300}',
            "seq: an integer of 4300 digits, allowed: -9223372036854775808 to 92233720",
        ),
        (Ownership, f'"seq": {"9" * 4301}', "seq: an integer of 4301 digits"),
        (Ownership, f'"epoch": 1{"0" * 400}', "epoch: an integer of 401 digits"),
        (Ownership, f'"epoch": {LARGEST + 1}', "epoch: 9223372036854775808, allowed: .* to 9223372036854775807"),
        (Session, f'"beat": {-LARGEST - 2}', "beat: -9223372036854775809, allowed: -9223372036854775808"),
        (Ownership, f'"wanted": {{"to": null, "epoch": -{"9" * 5000}}}', r"wanted\.epoch: an integer of 5000 digits"),
        (Session, '"lease_duration": 1e300', r"lease_duration: 1e\+300 seconds, allowed: 0 to 3600"),
        (Session, '"lease_duration": 3600.1', "lease_duration: 3600.1 seconds"),
        (Session, '"lease_duration": -1.0', "lease_duration: -1 seconds"),
        (Session, '"lease_duration": 1e999', "lease_duration: inf is not a number"),
        (Session, '"lease_duration": -Infinity', "lease_duration: -inf is not a number"),
        (Session, '"lease_duration": NaN', "lease_duration: nan is not a number"),
        (Session, f'"writer": "{"w" * 1025}"', "writer: 1025 characters, allowed: at most 1024"),
        (Session, r'"writer": "a\ud800b"', r"writer: 'a\\ud800b' is not text"),
        (Session, r'"groups": {"\udfff": {}}', r"groups: '\\udfff' is not text"),
        (Session, f'"groups": {{"{"w" * 1025}": {{}}}}', "groups: 1025 characters, allowed: at most 1024"),
        (Session, r'"groups": {"a\nb": 1}', r"groups\.'a\\nb': 1 is not an"),
        (Session, f'"groups": {"[" * 100}{"]" * 100}', r"groups: \[\[\[\.\.\.\]\]\] is not an object"),
        (Session, f'"colour": {"[" * 9}{"]" * 9}', "colour: nested, allowed: at most 8 levels"),
        (Session, f'"groups": {{"web": {{"hue": {"[" * 9}{"]" * 9}}}}}', r"groups\.web\.hue: nested"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_beyond_a_limit_says_which_field_and_what_is_allowed(kind: Any, text: str, says: str) -> None:
    with pytest.raises(BadRecord, match=f"^{says}") as error:
        decode(body({Session: "session", Ownership: "group"}[kind], text), kind)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 300


def test_what_has_too_many_entries_or_bytes_is_refused() -> None:
    many: dict[str, Any] = {f"g{number}": {} for number in range(4097)}
    with pytest.raises(BadRecord, match=r"^groups: 4097 entries, allowed: at most 4096"):
        decode(valid("session", groups=many), Session)
    with pytest.raises(BadRecord, match=r"^record: 4100 entries, allowed"):
        decode(valid("session", **many), Session)
    with pytest.raises(BadRecord, match=r"^1048577 bytes, allowed: at most 1048576"):
        decode(b" " * 1_048_577, Session)


def test_what_is_at_its_limit_is_read() -> None:
    epochs = [LARGEST, -LARGEST - 1]
    assert [decode(valid("group", epoch=epoch), Ownership).epoch for epoch in epochs] == epochs
    durations = [0.0, 3600.0]
    read = [decode(valid("session", lease_duration=seconds), Session).lease_duration for seconds in durations]
    assert read == durations
    assert decode(valid("session", writer="w" * 1024), Session).writer == "w" * 1024
    groups: dict[str, Any] = {f"g{number}": {} for number in range(4096)}
    assert len(decode(valid("session", groups=groups), Session).groups) == 4096
    assert decode(body("session", f'"colour": {"[" * 8}{"]" * 8}'), Session) == Session("n1")
    assert decode(body("session", f'"colour": {"9" * 5000}'), Session) == Session("n1"), "of a later version"


def test_the_configuration_allows_no_lease_that_a_record_does_not() -> None:
    assert Lease(duration_seconds=LONGEST_LEASE).duration_seconds == LONGEST_LEASE
    with pytest.raises(ValidationError):
        Lease(duration_seconds=LONGEST_LEASE + 1)


ODD_NUMBERS = st.sampled_from([f"{'9' * digits}" for digits in (19, 20, 4300, 4301)]) | st.sampled_from(
    ["-1e999", "1e400", "NaN", "Infinity", "-0", "1E5", "0.0", "true", "null"]
)
ODD_TEXTS = st.sampled_from(
    [r'"\ud800"', r'"\udc00x"', r'"\ud83d\ude00"', r'"\u0000"', '"\x7f"', f'"{"x" * 2000}"', '""', '"\\n"']
)
ODD_JSON = st.recursive(
    ODD_NUMBERS | ODD_TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{','.join(parts)}]")
        | st.lists(st.tuples(ODD_TEXTS, inner), max_size=3).map(
            lambda parts: f"{{{','.join(f'{key}:{value}' for key, value in parts)}}}"
        )
        | st.tuples(inner, st.integers(1, 1200)).map(lambda deep: "[" * deep[1] + deep[0] + "]" * deep[1])
    ),
    max_leaves=6,
)


@given(st.sampled_from(EXAMPLES), st.data())
@settings(deadline=None)
def test_odd_json_in_any_field_is_a_record_or_a_bad_record_on_one_line(record: Any, data: st.DataObject) -> None:
    whole = json.loads(encode(record))
    field = data.draw(st.sampled_from([*whole, "of a later version"]))
    rest = ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in whole.items() if key != field)
    value = f"{{{rest},{json.dumps(field)}:{data.draw(ODD_JSON)}}}".encode(errors="surrogatepass")
    try:
        found = decode(value, type(record))
    except BadRecord as error:
        text = str(error)
        text.encode()
        assert len(text.splitlines()) == 1
        assert len(text) < 300
    else:
        assert decode(encode(found), type(record)) == found


# --- time --------------------------------------------------------------------------------------------------------

DRIFTS = st.floats(0, 0.05)
OVERSHOOTS = st.sampled_from([0.05, 1.0])


@given(st.floats(2.5, 3600), DRIFTS, OVERSHOOTS)
def test_derived_durations_have_no_problems(lease_duration: float, drift: float, overshoot: float) -> None:
    timing = Timing.derive(lease_duration, drift=drift, overshoot=overshoot)
    assert timing.problems() == []
    assert 0 < timing.retry_period < timing.renew_deadline <= lease_duration * 0.7


@pytest.mark.parametrize("lease_duration", [0.1, 1, 3, 10, 60])
def test_the_usual_leases_leave_time_for_three_renewals(lease_duration: float) -> None:
    timing = Timing.derive(lease_duration)
    assert timing.problems() == []
    assert 3 * timing.retry_period <= timing.renew_deadline


@given(st.floats(0.1, 3600), DRIFTS, OVERSHOOTS)
def test_the_longest_renew_deadline_ends_before_the_earliest_fence(
    lease_duration: float,
    drift: float,
    overshoot: float,
) -> None:
    """With the owner's clock slow and the standby's fast, the guard still ends before the standby can fence."""
    guard_ends = longest_renew_deadline(lease_duration, drift, overshoot) / (1 - drift) + overshoot
    earliest_fence = lease_duration / (1 + drift)
    assert guard_ends == pytest.approx(earliest_fence)


@given(st.floats(2.5, 3600), DRIFTS, OVERSHOOTS, st.floats(1.0001, 2))
def test_a_renew_deadline_above_the_longest_is_a_problem(
    lease_duration: float,
    drift: float,
    overshoot: float,
    factor: float,
) -> None:
    longest = longest_renew_deadline(lease_duration, drift, overshoot)
    timing = Timing(lease_duration, longest * factor, longest / 4, drift, overshoot)
    (problem,) = timing.problems()
    assert problem.startswith("renew_deadline_seconds")
    assert f"at most {longest:.3f}" in problem
    assert replace(timing, renew_deadline=longest).problems() == []


@pytest.mark.parametrize("retry_period", [-1.0, 0.0, 1.0, 1.5, 5.0])
def test_a_retry_period_that_leaves_no_second_try_is_a_problem(retry_period: float) -> None:
    (problem,) = Timing(3.0, 2.0, retry_period).problems()
    assert problem == (
        f"retry_period_seconds {retry_period:g} must be above 0 and below half of renew_deadline_seconds 2"
    )


def test_every_problem_is_reported_at_once() -> None:
    assert [problem.split()[0] for problem in Timing(1.0, 3.0, 9.0).problems()] == [
        "renew_deadline_seconds",
        "retry_period_seconds",
    ]


def test_a_lease_too_short_for_the_kernel_is_a_problem() -> None:
    """If only valid_lft ends an address, up to a second late, a lease of one second cannot be safe."""
    assert Timing.derive(1.0, overshoot=1.0).problems()


@given(st.floats(2.5, 3600), DRIFTS, OVERSHOOTS)
def test_two_store_calls_fit_between_two_renewals(lease_duration: float, drift: float, overshoot: float) -> None:
    timing = Timing.derive(lease_duration, drift=drift, overshoot=overshoot)
    assert timing.retry_period + 2 * timing.call_timeout <= timing.renew_deadline * (1 + 1e-9)


def test_a_call_always_has_some_time() -> None:
    assert Timing(3.0, 2.0, 0.6).call_timeout == pytest.approx(0.7)
    assert Timing(3.0, 2.0, 1.9).call_timeout == pytest.approx(0.95)


@pytest.mark.parametrize(("now", "soon"), [(899.0, False), (901.0, True), (2000.0, True)])
def test_a_credential_ends_soon_when_a_tenth_of_its_life_is_left(now: float, soon: bool) -> None:
    assert Credential("token", 0.0, 1000.0).ends_soon(now) is soon
