"""Carries out what operators ask of a running daemon: status, history, switchover, pause."""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib.metadata import version

from controller.api.server import Code, Moved, PauseRequest, RequestRefused
from controller.api.status import FailureView, GroupView, Member, MemberGroup, NodeStatus, PauseView, StoreView
from controller.config.model import Config
from controller.core import differences
from controller.core import events as ev
from controller.core.election import live_sessions
from controller.core.group import GroupState, Role
from controller.core.records import GROUPS, SESSIONS, Ownership, Session, SessionId
from controller.core.state import State
from controller.daemon.clock import Clock
from controller.daemon.node import Node
from controller.daemon.redundancy import explain_unfit, find_owner, find_standbys, is_served, is_silent, list_left
from controller.daemon.requests import Requests, record_of
from controller.telemetry.chronicle import ChronicleEntry
from controller.telemetry.history import HistoryEntry
from controller.telemetry.logs import utc
from controller.telemetry.telemetry import Telemetry


class Control:
    """Answers the requests of `controller.api.server` from the state of one node."""

    def __init__(self, node: Node, config: Callable[[], Config], clock: Clock, telemetry: Telemetry) -> None:
        self._node = node
        self._config = config
        self._clock = clock
        self._telemetry = telemetry
        self._began_at = clock()
        self._requests = Requests(node, clock)

    def status(self) -> NodeStatus:
        """Return the present status of this node."""
        state, config, now = self._node.state, self._config(), self._clock()
        live = {
            session for session, _ in live_sessions(state.store.sightings, now, self._node.policy.timing.lease_duration)
        }
        return NodeStatus(
            version=version("anyvip"),
            cluster=config.cluster,
            node=config.node,
            session=state.session.id,
            paused=state.paused,
            pause=_pause(state, now),
            uptime_seconds=now - self._began_at,
            store=self._store(config, now),
            groups={name: self._group(name, config, now, live) for name in config.groups},
            members=self._members(now),
            left=list_left(state, now),
        )

    def history(self) -> list[HistoryEntry]:
        """Return the recorded transitions, oldest first."""
        return self._telemetry.history.entries()

    def chronicle(self) -> list[ChronicleEntry]:
        """Return what this node has seen of the whole cluster, oldest first."""
        return self._telemetry.chronicle.entries()

    async def switchover(self, group: str, to: str | None, seconds: float, by: str = "") -> Moved:
        """Hand the group over, and return once the new owner serves it. `by`: who asks. Raises RequestRefused."""
        before = self._check(group, to)
        asked = ev.Asked(group, to, by=f"{by} on {self._config().node}".strip())
        return await self._requests.switchover(asked, before, seconds)

    async def pause(self, request: PauseRequest, seconds: float) -> None:
        """Pause or resume the cluster, and return once a listing shows it. Raises RequestRefused."""
        await self._requests.pause(request, seconds)

    # --- switchover ---

    def _check(self, group: str, to: str | None) -> Ownership:
        """Return the group's record before the switchover. Raises RequestRefused when the switchover is impossible."""
        state = self._node.state
        if group not in self._config().groups:
            raise RequestRefused(
                Code.UNKNOWN_GROUP, f"no group {group!r}; there is {', '.join(sorted(self._config().groups))}"
            )
        if self._node.state.stopping:
            raise RequestRefused(Code.STOPPING, "this daemon is stopping")
        if state.paused:
            raise RequestRefused(Code.PAUSED, "the cluster is paused: run `anyvip resume` first")
        if self._telemetry.contact.reachable is False:
            raise RequestRefused(Code.STORE, f"the {self._config().store.type} store does not answer: nothing can move")
        record = record_of(state, group)
        if record is None or record.session is None:
            raise RequestRefused(Code.NOBODY_ACTIVE, f"no node is active for {group}, so there is nothing to hand over")
        if to is not None and record.node == to:
            raise RequestRefused(Code.ALREADY_ACTIVE, f"{to} is already active for {group}")
        self._check_target(group, to, record)
        return record

    def _check_target(self, group: str, to: str | None, record: Ownership) -> None:
        members = [member for member in self._members(self._clock()) if member["session"] != record.session]
        named = [member for member in members if to in (None, member["node"])]
        live = [member for member in named if member["live"] is not False]
        fit = [m for m in live if group in m["groups"] and m["groups"][group]["healthy"] and m["campaigning"]]
        who = to or "another node"
        if not named:
            nodes = ", ".join(sorted(member["node"] for member in members)) or "no other node"
            unknown = "" if to is None else f"no node {to!r}; "
            raise RequestRefused(Code.UNKNOWN_NODE, f"{unknown}there is {nodes} to hand over to")
        if not live:
            raise RequestRefused(Code.NOT_LIVE, f"{who} has not renewed its session for a whole lease")
        if not any(m["groups"][group]["priority"] > 0 for m in fit):
            raise RequestRefused(Code.NOT_HEALTHY, f"{who} is not fit to serve {group}: see `anyvip status` there")

    # --- status ---

    def _store(self, config: Config, now: float) -> StoreView:
        contact = self._telemetry.contact
        return StoreView(
            type=config.store.type,
            reachable=contact.reachable is True,
            contact_seconds=None if contact.at is None else now - contact.at,
            cut_off_since=self._telemetry.cut_off_since,
            error=contact.error,
        )

    def _group(self, name: str, config: Config, now: float, live: Collection[SessionId]) -> GroupView:
        state, lease = self._node.state, self._node.policy.timing.lease_duration
        group = state.groups.get(name, GroupState())
        record = record_of(state, name)
        last = self._telemetry.history.last(name)
        return GroupView(
            role=group.role.value,
            role_seconds=max(0.0, now - (group.since or self._began_at)),
            reason=last["reason"] if last else "",
            detail=last["detail"] if last else "",
            active=find_owner(state, name, now, lease),
            epoch=group.epoch,
            vips=[str(vip) for vip in config.groups[name].vips],
            priority=config.groups[name].priority,
            healthy=group.healthy,
            why=group.why,
            grant_seconds_left=None if group.right.expires_at is None else max(0.0, group.right.expires_at - now),
            waits_for=self._waits_for(name, group, live),
            error=group.steps.error,
            wanted=_wanted(record),
            failed=_failure(group, now),
            served=is_served(state, name, now, lease),
            standbys=find_standbys(state, name, now, lease),
            not_standby=explain_unfit(state, name, now, lease),
        )

    def _waits_for(self, name: str, group: GroupState, live: Collection[SessionId]) -> str:
        """Return why this node does not serve all that the group has; empty while its owner renews."""
        state = self._node.state
        seen, record = state.store.sightings.get(GROUPS + name), record_of(state, name)
        if seen is not None and seen.problem:
            return f"bad-record: {seen.problem}"
        if group.claim.blocked:
            return group.claim.blocked
        renewed = record is not None and record.session in live
        return "" if renewed or group.role is not Role.STANDBY else group.campaign.waits_for

    def _members(self, now: float) -> list[Member]:
        state, lease = self._node.state, self._node.policy.timing.lease_duration
        differing = differences.find(state, self._node.policy)
        members = []
        for key, seen in sorted(state.store.sightings.items()):
            record = seen.record
            if not isinstance(record, Session) or record.fenced:
                continue
            groups = {
                name: MemberGroup(priority=m.priority, healthy=m.healthy, serving=m.serving)
                for name, m in record.groups.items()
            }
            session, silent = key.removeprefix(SESSIONS), is_silent(state, seen.since, now, lease)
            members.append(
                Member(
                    node=record.node,
                    session=session,
                    here=session == state.session.id,
                    live=None if silent is None else not silent,
                    seen_seconds=now - seen.since,
                    campaigning=record.campaigning,
                    version=record.version,
                    differs=list(differing.get(SessionId(session), ())),
                    groups=groups,
                )
            )
        return members


def _failure(group: GroupState, now: float) -> FailureView | None:
    failed = group.failure
    return None if failed is None else FailureView(step=failed.step, error=failed.error, seconds=now - failed.at)


def _wanted(record: Ownership | None) -> str | None:
    """Return the node that an operator wants the group on, empty for any other; None if nobody has asked."""
    if record is None or record.wanted is None or record.wanted.epoch != record.epoch:
        return None
    return record.wanted.to or ""


def _pause(state: State, now: float) -> PauseView | None:
    pause, ends = state.pause, state.pause_ends()
    if pause is None:
        return None
    return PauseView(
        by=_printable(pause.by),
        node=_printable(pause.node),
        why=_printable(pause.why),
        at=_time(pause.at),
        seconds=max(0.0, now - state.pause_seen.since),
        seconds_left=None if ends is None else max(0.0, ends - now),
    )


def _printable(text: str) -> str:
    """Return a text from the store so that it does no harm on a terminal."""
    return text if text.isprintable() else repr(text)


def _time(at: int) -> str:
    try:
        return utc(at) if at > 0 else ""
    except (OverflowError, ValueError, OSError):  # no time that a clock has shown
        return ""
