"""The state of a node: the shape of ``GET /v1/status``, which `anyvip status --json` prints unchanged."""

from __future__ import annotations

from typing import TypedDict


class MemberGroup(TypedDict):
    """What a member reports about itself in one group. `serving`: the epoch in which it serves, 0 when it does not."""

    priority: int
    healthy: bool
    serving: int


class Member(TypedDict):
    """One session. `live` is None if this node cannot tell, because it is cut off from the store."""

    node: str
    session: str
    here: bool
    live: bool | None
    seen_seconds: float  # how long ago this node last saw a sign of life
    campaigning: bool
    groups: dict[str, MemberGroup]


class LeftMember(TypedDict):
    """A node that left within the last day and is not back. Moments are Unix seconds, on the clock of the node `by`.

    `why`: ``left`` (in order), or how it was fenced: ``silent``, ``missing`` (its record), ``earlier-life`` (its own).
    """

    node: str
    session: str
    at: float
    why: str
    by: str
    silent_since: float | None


class GroupView(TypedDict):
    """One group as this node sees it. `active`: the node that owns it; None if nobody does or this node cannot tell."""

    role: str
    role_seconds: float  # how long this node has had the role
    reason: str
    detail: str
    active: str | None
    epoch: int
    vips: list[str]
    priority: int
    healthy: bool | None
    why: str  # what decided `healthy`
    grant_seconds_left: float | None
    waits_for: str  # why this node waits to take the group; empty if it does not wait
    error: str  # of the last step; empty if that step did not fail
    served: bool | None  # whether a node serves it; None: this node cannot tell
    standbys: list[str]  # the nodes that could take over now
    not_standby: dict[str, str]  # why each other member could not


class StoreView(TypedDict):
    """Whether the store answers. `contact_seconds`: how long ago it last did, None if it never did.

    `cut_off_since`: since when this node has no answer (Unix seconds), None while it has.
    """

    type: str
    reachable: bool
    contact_seconds: float | None
    cut_off_since: float | None
    error: str


class NodeStatus(TypedDict):
    """The state of one node."""

    version: str
    cluster: str
    node: str
    session: str | None
    paused: bool
    uptime_seconds: float
    store: StoreView
    groups: dict[str, GroupView]
    members: list[Member]
    left: list[LeftMember]
