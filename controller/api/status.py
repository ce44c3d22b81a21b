"""What the local API says of a node: the shape of ``GET /v1/status``, which `anyvip status --json` prints as it is."""

from __future__ import annotations

from typing import TypedDict


class MemberGroup(TypedDict):
    """What a member says of itself in one group. `serving`: the epoch it serves, 0 when it does not."""

    priority: int
    healthy: bool
    serving: int


class Member(TypedDict):
    """One session. `live` is None while it has not been watched for long enough to tell."""

    node: str
    session: str
    here: bool
    live: bool | None
    campaigning: bool
    groups: dict[str, MemberGroup]


class GroupView(TypedDict):
    """One group seen from this node. `active`: the node that owns it, as far as is known."""

    role: str
    role_seconds: float  # how long it has had this role
    reason: str
    detail: str
    active: str | None
    epoch: int
    vips: list[str]
    priority: int
    healthy: bool | None
    why: str  # what decided about health
    grant_seconds_left: float | None
    waits_for: str  # why it does not take the group now; empty if there is no such reason
    error: str  # of the last step that failed; empty if it did not


class StoreView(TypedDict):
    """Whether the store answers. `contact_seconds`: how long ago it did last, None if it never did."""

    type: str
    reachable: bool
    contact_seconds: float | None
    error: str


class Status(TypedDict):
    """One node."""

    version: str
    cluster: str
    node: str
    session: str | None
    paused: bool
    uptime_seconds: float
    store: StoreView
    groups: dict[str, GroupView]
    members: list[Member]
