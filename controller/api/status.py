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
    version: str  # empty: a version that does not say
    differs: list[str]  # in what its configuration differs from this node's
    groups: dict[str, MemberGroup]


class FailureView(TypedDict):
    """The step that failed last on this node, why, and how long ago."""

    step: str
    error: str
    seconds: float


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
    wanted: str | None  # the node that an operator wants the group on; empty: any other. None: nobody has asked
    failed: FailureView | None  # None once this node has served the group since
    served: bool | None  # whether a node serves it; None: this node cannot tell
    standbys: list[str]  # the nodes that could take over now
    not_standby: dict[str, str]  # why each other member could not


class PauseView(TypedDict):
    """The pause of the cluster: who asked for it, on which node, and why.

    `at` is the time on that node's wall clock, for people to read. `seconds` is how long this node has seen the pause,
    `seconds_left` when it ends by itself; None if it lasts until somebody resumes.
    """

    by: str
    node: str
    why: str
    at: str
    seconds: float
    seconds_left: float | None


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
    pause: PauseView | None
    uptime_seconds: float
    store: StoreView
    groups: dict[str, GroupView]
    members: list[Member]
    left: list[LeftMember]
