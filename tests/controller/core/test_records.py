"""The encoding of records, and the durations that make a lease safe."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.records import (
    BadRecord,
    Cluster,
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
from controller.core.timing import Timing, longest_renew_deadline

TEXT = st.text(max_size=20)
COUNT = st.integers(min_value=0, max_value=2**63)
SESSION_ID = TEXT.map(SessionId)
MEMBERSHIPS = st.builds(
    Membership,
    priority=st.integers(0, 1000),
    healthy=st.booleans(),
    serving=COUNT,
    stake=st.sampled_from(Stake),
    digest=TEXT,
    claims=st.none() | st.lists(TEXT, max_size=2).map(tuple),
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
    Session("n1", beat=3, groups={"web": Membership(healthy=True, serving=2)}, seq=4, writer="w"),
    Ownership(SessionId("s1"), "n1", 7, SessionId("s2"), Wanted("n2", 7), "v8", False, 9, "w"),
    Cluster(paused=True, seq=1, writer="w"),
)


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
    session, group, _ = EXAMPLES
    assert next_record(session, "v", beat=4) == replace(session, beat=4, seq=5, writer="v")
    assert next_record(group, "v", session=None) == replace(group, session=None, seq=10, writer="v")


@pytest.mark.parametrize("record", EXAMPLES, ids=lambda record: type(record).__name__)
def test_a_record_is_json_that_names_its_format_and_kind(record: Any) -> None:
    body = json.loads(encode(record))
    assert body["format"] == 1
    assert body["kind"] in {"session", "group", "cluster"}
    assert {"format", "kind", "seq"} <= set(body) <= {"format", "kind"} | {f.name for f in fields(record)}


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
